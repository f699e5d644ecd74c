/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what is asked for to functions, for card.c. */
#ifndef HOST_CARD_PICK_H
#define HOST_CARD_PICK_H

#include "host/card.h"

struct card_picks {
	bool *is;	/* owned, topology.n long: this function is given away */
	bool *alone;	/* owned, the same: named by its own id, not part of a card */
};

bool card_is_bridge(const struct pcidev *dev);	/* also a host bridge */
bool card_is_display(const struct pcidev *dev);	/* class 03, or 12: an accelerator */

/* Set the picks, all false before; return value and *error as cards_find(). */
int card_pick(const struct topology *t, const struct setup_request *request,
	      struct card_picks *picks, char **error);

#endif
