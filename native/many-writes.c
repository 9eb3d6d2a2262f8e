/*
 * Keeps so many synchronous writes of a file under way, each in a thread of its own, each to a block of its
 * own. Says `ready` when all have begun, of a file whose blocks were there before: a thousand allocations
 * one by one take a slow disk half a minute. Ends with 1 as soon as a write fails.
 *
 * Arguments: the file, how many.
 *
 * In C, with all stacks side by side: user-mode-linux walks every mapping of a process for each thread that
 * it starts (arch/um/kernel/process.c, fork_handler). A thousand of Node's took it 36 s; these take 1 s.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_BYTES 4096
#define STACK_BYTES 32768

static int synchronous;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Every other block: neighbours would become one write. */
static off_t place_of(long block)
{
	return (off_t)block * 2 * BLOCK_BYTES;
}

static void put(int fd, long block, const char *text)
{
	char data[BLOCK_BYTES];
	size_t length = strlen(text);

	for (size_t at = 0; at < sizeof data; at++)
		data[at] = text[at % length];
	if (pwrite(fd, data, sizeof data, place_of(block)) != sizeof data)
		fail("write");
}

/* Every round writes something else, so that a late one would be seen. */
static void *write_on(void *number)
{
	long block = (long)number;
	char text[64];

	for (long round = 0;; round++) {
		snprintf(text, sizeof text, "block %ld round %ld ", block, round);
		put(synchronous, block, text);
	}
	return NULL;
}

int main(int count, char **arguments)
{
	long writes = count == 3 ? atol(arguments[2]) : 0;
	int plain = count == 3 ? open(arguments[1], O_RDWR | O_CREAT, 0600) : -1;
	char *stacks;

	if (plain < 0)
		fail("open");
	for (long block = 0; block < writes; block++)
		put(plain, block, "before ");
	if (fsync(plain) != 0)
		fail("fsync");
	synchronous = open(arguments[1], O_RDWR | O_DSYNC);
	stacks = mmap(NULL, writes * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (synchronous < 0 || stacks == MAP_FAILED)
		fail("prepare");
	for (long block = 0; block < writes; block++) {
		pthread_attr_t attributes;
		pthread_t thread;

		pthread_attr_init(&attributes);
		pthread_attr_setstack(&attributes, stacks + block * STACK_BYTES, STACK_BYTES);
		if (pthread_create(&thread, &attributes, write_on, (void *)block) != 0)
			fail("thread");
	}
	puts("ready");
	fflush(stdout);
	pause();
	return 1;
}
