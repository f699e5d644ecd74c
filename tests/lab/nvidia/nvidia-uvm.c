// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The lab's nvidia-uvm: two character devices with a dynamic major. Like the real one it
 * makes no nodes, and is loaded by the first that wants them. majors=N takes N majors
 * before its own, as another order of modules at another boot does.
 */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/module.h>

enum { MAJORS_MAX = 16 };

static int majors;
module_param(majors, int, 0444);
MODULE_PARM_DESC(majors, "dynamic majors to take before its own");

static dev_t spare[MAJORS_MAX], uvm_dev;
static struct cdev uvm_cdev;

static int uvm_open(struct inode *inode, struct file *file)
{
	return 0;
}

static ssize_t uvm_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	const char *text = iminor(file_inode(file)) ? "uvm-tools\n" : "uvm\n";

	return simple_read_from_buffer(to, size, at, text, strlen(text));
}

static const struct file_operations uvm_ops = {
	.owner = THIS_MODULE,
	.open = uvm_open,
	.read = uvm_read,
};

static void undo(void)
{
	int i;

	unregister_chrdev_region(uvm_dev, 2);
	for (i = 0; i < MAJORS_MAX && spare[i]; i++)
		unregister_chrdev_region(spare[i], 1);
}

static int __init uvm_init(void)
{
	int i, err;

	for (i = 0; i < majors && i < MAJORS_MAX; i++)
		alloc_chrdev_region(&spare[i], 0, 1, "lab");
	err = alloc_chrdev_region(&uvm_dev, 0, 2, "nvidia-uvm");
	if (err)
		return err;
	cdev_init(&uvm_cdev, &uvm_ops);
	err = cdev_add(&uvm_cdev, uvm_dev, 2);
	if (err)
		undo();
	return err;
}

static void __exit uvm_exit(void)
{
	cdev_del(&uvm_cdev);
	undo();
}

module_init(uvm_init);
module_exit(uvm_exit);
MODULE_VERSION("580.76.05");
MODULE_DESCRIPTION("The lab's nvidia-uvm");
MODULE_LICENSE("GPL");
