/*
 * Lets user-mode-linux (Debian's 6.1) run on processors with large register state, such as AMX.
 *
 * It keeps a process's registers in a buffer of fixed size (2696 bytes, arch/x86/um/ptrace_64.c) and
 * gives that to PTRACE_SETREGSET with NT_X86_XSTATE. A kernel whose state is larger refuses a short
 * buffer with EFAULT, upon which user-mode-linux panics: "ptrace set fp regs failed, errno = 14".
 *
 * Preloaded, this takes the place of libc's ptrace(2): for that one request it reads the whole state,
 * puts user-mode-linux's part in front, and writes the whole back. All else is handed on unchanged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* linux/elf.h, which does not go together with sys/ptrace.h */
#define NT_X86_XSTATE 0x202

/* Intel SDM volume 1, 13.4: the header follows 512 bytes of legacy state and begins with XSTATE_BV,
 * which tells the components that are not in their initial state. */
#define XSTATE_BV_OFFSET 512
/* Tile configuration and tile data (AMX) lie behind what user-mode-linux gave. */
#define AMX_COMPONENTS (UINT64_C(3) << 17)

static long set_extended_state(pid_t pid, struct iovec *given)
{
	static _Alignas(64) unsigned char whole[65536];
	struct iovec state = { whole, sizeof whole };
	uint64_t components;

	if (syscall(SYS_ptrace, (long)PTRACE_GETREGSET, pid, NT_X86_XSTATE, &state) < 0)
		return -1;
	if (given->iov_len >= state.iov_len)
		return syscall(SYS_ptrace, (long)PTRACE_SETREGSET, pid, NT_X86_XSTATE, given);
	memcpy(whole, given->iov_base, given->iov_len);
	memcpy(&components, whole + XSTATE_BV_OFFSET, sizeof components);
	components &= ~AMX_COMPONENTS;
	memcpy(whole + XSTATE_BV_OFFSET, &components, sizeof components);
	return syscall(SYS_ptrace, (long)PTRACE_SETREGSET, pid, NT_X86_XSTATE, &state);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	pid_t pid;
	void *address, *data;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);

	switch (request) {
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA:
	case PTRACE_PEEKUSER: {
		/* libc returns the word, the system call stores it (ptrace(2), "C library/kernel differences"). */
		long word;

		if (syscall(SYS_ptrace, (long)request, pid, address, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	case PTRACE_SETREGSET:
		if ((uintptr_t)address == NT_X86_XSTATE)
			return set_extended_state(pid, data);
		/* fallthrough */
	default:
		return syscall(SYS_ptrace, (long)request, pid, address, data);
	}
}
