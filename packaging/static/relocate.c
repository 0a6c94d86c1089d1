/* The first instructions of the static binary: they apply its packed relative relocations (DT_RELR), which musl's own
 * start files for position-independent programs do not know (rcrt1.o; seen in 1.2.3, and 1.2.4's support is for shared
 * objects alone), and go on to musl's _start. Unpacked the same relocations are a twentieth of the binary.
 *
 * The size in the dynamic section is set to 0 afterwards, so that start files that do know them find nothing left.
 * Nothing here may need a relocation itself: every symbol is hidden, so reached relative to the instruction.
 *
 * The format: generic ABI, "Dynamic Section", DT_RELR; the registers at entry: psABI for x86-64, 3.4.1. */

#include <elf.h>
#include <stddef.h>

/* elf.h of musl 1.2.3 has no names for these. */
enum { RELR_SIZE = 35, RELR = 36 };

extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));

__attribute__((visibility("hidden"), used)) void relocate(void)
{
    const Elf64_Addr base = (Elf64_Addr)__ehdr_start;
    const Elf64_Addr *entry = NULL, *end;
    Elf64_Xword size = 0;

    for (Elf64_Dyn *dynamic = _DYNAMIC; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == RELR)
            entry = (const Elf64_Addr *)(base + dynamic->d_un.d_ptr);
        else if (dynamic->d_tag == RELR_SIZE) {
            size = dynamic->d_un.d_val;
            dynamic->d_un.d_val = 0;
        }
    }

    /* An even entry is an address, an odd one a bit for each of the 63 words after the last. */
    Elf64_Addr *word = NULL;
    for (end = entry + size / sizeof *entry; entry != end; entry++) {
        if (*entry % 2 == 0) {
            word = (Elf64_Addr *)(base + *entry);
            *word++ += base;
        } else {
            for (int bit = 1; bit < 64; bit++)
                if (*entry >> bit & 1)
                    word[bit - 1] += base;
            word += 63;
        }
    }
}

/* The stack pointer leads to the arguments, and must reach _start as it is; rbx outlives the call. */
__asm__(".pushsection .text.start_relocated, \"ax\", @progbits\n"
        ".globl start_relocated\n"
        ".hidden start_relocated\n"
        ".type start_relocated, @function\n"
        "start_relocated:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rbx\n"
        "    and $-16, %rsp\n"
        "    call relocate\n"
        "    mov %rbx, %rsp\n"
        "    jmp _start\n"
        ".size start_relocated, . - start_relocated\n"
        ".popsection\n");
