#include <fcntl.h>
#include <stdlib.h>

#include "cli/cli.h"

/* A standard descriptor that is closed would become that of the first socket, and what is printed
 * would be sent to a stranger. */
static void standard_descriptors_open(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
            exit(CLI_FAILED);
}

int main(int argc, char **argv)
{
    standard_descriptors_open();
    return cli_main(argc, argv);
}
