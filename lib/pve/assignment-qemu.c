/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pve/assignment.h"
