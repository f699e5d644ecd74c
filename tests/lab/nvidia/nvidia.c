// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The lab's NVIDIA driver: what the real one shows in /proc, its majors and character
 * devices, and nothing of a GPU. Like the real one it makes no nodes in /dev, and the
 * major of nvidia-caps is another one with each boot (majors=N takes N before it).
 *
 * It takes a PCI function by driver_override; the first that it gets is minor 0. A read
 * from a node gives its name in the driver's own words.
 */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#define VERSION "580.76.05"

enum { MAJOR_NR = 195, MODESET = 254, CTL = 255, GPUS_MAX = 8, CAPS = 16, MAJORS_MAX = 16 };

static int majors;
module_param(majors, int, 0444);
MODULE_PARM_DESC(majors, "dynamic majors to take before that of nvidia-caps");

/* A MIG instance of GPU 0, as the real driver numbers it. */
static const struct {
	const char *folder, *file;	/* below /proc/driver/nvidia/capabilities */
	const char *name;		/* in mig-minors */
	int minor, mode;
} caps[] = {
	{ "mig", "config", "config", 1, 0400 },
	{ "mig", "monitor", "monitor", 2, 0444 },
	{ "gpu0/mig/gi1", "access", "gpu0/gi1/access", 12, 0444 },
	{ "gpu0/mig/gi1/ci0", "access", "gpu0/gi1/ci0/access", 13, 0444 },
};

static struct proc_dir_entry *proc, *proc_gpus, *proc_caps;
static struct pci_dev *gpus[GPUS_MAX];
static dev_t spare[MAJORS_MAX], caps_dev;
static struct cdev frontend, caps_cdev;

static bool is_cap(unsigned int minor)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		if (caps[i].minor == minor)
			return true;
	}
	return false;
}

static int node_open(struct inode *inode, struct file *file)
{
	unsigned int minor = iminor(inode);

	if (imajor(inode) != MAJOR_NR)
		return is_cap(minor) ? 0 : -ENODEV;
	return minor >= MODESET || (minor < GPUS_MAX && gpus[minor]) ? 0 : -ENODEV;
}

static ssize_t node_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	unsigned int minor = iminor(file_inode(file));
	char text[64];
	int len;

	if (imajor(file_inode(file)) != MAJOR_NR)
		len = scnprintf(text, sizeof(text), "capability %u\n", minor);
	else if (minor == CTL)
		len = scnprintf(text, sizeof(text), "control\n");
	else if (minor == MODESET)
		len = scnprintf(text, sizeof(text), "modeset\n");
	else
		len = scnprintf(text, sizeof(text), "gpu %s\n", pci_name(gpus[minor]));
	return simple_read_from_buffer(to, size, at, text, len);
}

static const struct file_operations node_ops = {
	.owner = THIS_MODULE,
	.open = node_open,
	.read = node_read,
};

static int information_show(struct seq_file *seq, void *unused)
{
	int minor;

	for (minor = 0; minor < GPUS_MAX && gpus[minor] != seq->private; minor++)
		;
	seq_printf(seq, "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 16\n"
		   "GPU UUID: \t GPU-00000000-0000-4000-8000-00000000000%d\n"
		   "Video BIOS: \t 92.00.45.00.03\nBus Type: \t PCIe\nDMA Size: \t 47 bits\n"
		   "DMA Mask: \t 0x7fffffffffff\nBus Location: \t %s\nDevice Minor: \t %d\n"
		   "GPU Firmware: \t %s\nGPU Excluded:\t No\n",
		   minor, pci_name(seq->private), minor, VERSION);
	return 0;
}

static int gpu_probe(struct pci_dev *dev, const struct pci_device_id *id)
{
	struct proc_dir_entry *folder;
	int minor;

	for (minor = 0; minor < GPUS_MAX && gpus[minor]; minor++)
		;
	if (minor == GPUS_MAX)
		return -ENOSPC;
	folder = proc_mkdir(pci_name(dev), proc_gpus);
	if (!folder || !proc_create_single_data("information", 0444, folder,
						information_show, dev))
		return -ENOMEM;
	gpus[minor] = dev;
	return 0;
}

static void gpu_remove(struct pci_dev *dev)
{
	int minor;

	for (minor = 0; minor < GPUS_MAX; minor++) {
		if (gpus[minor] == dev)
			gpus[minor] = NULL;
	}
	remove_proc_subtree(pci_name(dev), proc_gpus);
}

static struct pci_driver driver = {
	.name = "nvidia",
	.probe = gpu_probe,
	.remove = gpu_remove,
};

static int version_show(struct seq_file *seq, void *unused)
{
	seq_puts(seq, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  " VERSION
		 "  Fri Aug  1 00:00:00 UTC 2025\nGCC version:  gcc version 14.2.0\n");
	return 0;
}

static int params_show(struct seq_file *seq, void *unused)
{
	seq_puts(seq, "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileUID: 0\n"
		 "DeviceFileGID: 0\nDeviceFileMode: 438\n");
	return 0;
}

static int cap_show(struct seq_file *seq, void *unused)
{
	size_t i = (size_t)seq->private;

	seq_printf(seq, "DeviceFileMinor: %d\nDeviceFileMode: %d\nDeviceFileModify: 1\n",
		   caps[i].minor, caps[i].mode);
	return 0;
}

static int minors_show(struct seq_file *seq, void *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(caps); i++)
		seq_printf(seq, "%s %d\n", caps[i].name, caps[i].minor);
	return 0;
}

static int make_proc(void)
{
	struct proc_dir_entry *capabilities, *gpu, *mig, *gi, *folders[ARRAY_SIZE(caps)];
	size_t i;

	proc = proc_mkdir("driver/nvidia", NULL);
	proc_caps = proc_mkdir("driver/nvidia-caps", NULL);
	if (!proc || !proc_caps)
		return -ENOMEM;
	proc_gpus = proc_mkdir("gpus", proc);
	capabilities = proc_mkdir("capabilities", proc);
	proc_create_single("version", 0444, proc, version_show);
	proc_create_single("params", 0444, proc, params_show);
	proc_create_single("mig-minors", 0444, proc_caps, minors_show);
	folders[0] = folders[1] = proc_mkdir("mig", capabilities);
	gpu = proc_mkdir("gpu0", capabilities);
	mig = gpu ? proc_mkdir("mig", gpu) : NULL;
	gi = folders[2] = mig ? proc_mkdir("gi1", mig) : NULL;
	folders[3] = gi ? proc_mkdir("ci0", gi) : NULL;
	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		if (!folders[i] || !proc_create_single_data(caps[i].file, 0444, folders[i],
							    cap_show, (void *)i))
			return -ENOMEM;
	}
	return 0;
}

static void undo(void)
{
	int i;

	cdev_del(&frontend);
	cdev_del(&caps_cdev);
	unregister_chrdev_region(MKDEV(MAJOR_NR, 0), MODESET);
	unregister_chrdev_region(MKDEV(MAJOR_NR, MODESET), 1);
	unregister_chrdev_region(MKDEV(MAJOR_NR, CTL), 1);
	unregister_chrdev_region(caps_dev, CAPS);
	for (i = 0; i < MAJORS_MAX && spare[i]; i++)
		unregister_chrdev_region(spare[i], 1);
	proc_remove(proc);
	proc_remove(proc_caps);
}

static int __init nvidia_init(void)
{
	int i, err;

	cdev_init(&frontend, &node_ops);
	cdev_init(&caps_cdev, &node_ops);
	for (i = 0; i < majors && i < MAJORS_MAX; i++)
		alloc_chrdev_region(&spare[i], 0, 1, "lab");
	err = register_chrdev_region(MKDEV(MAJOR_NR, 0), MODESET, "nvidia");
	if (!err)
		err = register_chrdev_region(MKDEV(MAJOR_NR, MODESET), 1, "nvidia-modeset");
	if (!err)
		err = register_chrdev_region(MKDEV(MAJOR_NR, CTL), 1, "nvidiactl");
	if (!err)
		err = alloc_chrdev_region(&caps_dev, 0, CAPS, "nvidia-caps");
	if (!err)
		err = cdev_add(&frontend, MKDEV(MAJOR_NR, 0), 256);
	if (!err)
		err = cdev_add(&caps_cdev, caps_dev, CAPS);
	if (!err)
		err = make_proc();
	if (!err)
		err = pci_register_driver(&driver);
	if (err)
		pr_err("nvidia: %d; the lab's driver is not taken back\n", err);
	return err;
}

static void __exit nvidia_exit(void)
{
	pci_unregister_driver(&driver);
	undo();
}

module_init(nvidia_init);
module_exit(nvidia_exit);
MODULE_VERSION(VERSION);
MODULE_DESCRIPTION("The lab's NVIDIA driver");
MODULE_LICENSE("GPL");
