/* uevents NAME
 *
 * Says "uevent: NAME" on standard output, at once, whenever the kernel tells that the medium of the block device NAME
 * has changed (netlink(7), NETLINK_KOBJECT_UEVENT, group 1: the kernel's own word, not udev's). Runs until it is killed.
 * It opens nothing: that is what clears the way for the next event, and it is the agent that is measured. */

#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (argc != 2) {
        fprintf(stderr, "usage: uevents NAME\n");
        return 64;
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("uevents: cannot listen to the kernel");
        return 1;
    }
    char said[256], wanted[256], event[8192];
    int length = snprintf(said, sizeof said, "uevent: %s\n", argv[1]);
    snprintf(wanted, sizeof wanted, "DEVNAME=%s", argv[1]);
    if (write(1, "uevents: listening\n", 19) < 0)
        return 1;
    for (;;) {
        ssize_t got = recv(fd, event, sizeof event - 1, 0);
        if (got < 0)
            continue;
        event[got] = '\0';
        int ours = 0, media = 0;
        for (char *line = event; line < event + got; line += strlen(line) + 1) {
            ours |= strcmp(line, wanted) == 0;
            media |= strcmp(line, "DISK_MEDIA_CHANGE=1") == 0;
        }
        if (ours && media && write(1, said, length) < 0)
            return 1;
    }
}
