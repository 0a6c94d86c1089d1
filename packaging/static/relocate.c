/* The first instructions of the static binary: they apply its packed relative relocations (DT_RELR), which musl's own
 * start files for position-independent programs do not know (rcrt1.o; seen in 1.2.3, and 1.2.4's support is for shared
 * objects alone), and go on to musl's _start. Unpacked the same relocations are a twentieth of the binary.
 *
 * The size in the dynamic section is set to 0 afterwards, so that start files that do know them find nothing left.
 * Nothing here may need a relocation itself: every symbol is hidden, so reached relative to the instruction.
 *
 * The format: generic ABI, "Dynamic Section", DT_RELR; the registers at entry: psABI for x86-64, 3.4.1; for aarch64, arch/arm64's
 * start_thread of Linux, where only the stack pointer means something. */

#include <stddef.h>
#include <stdint.h>

/* An entry of the dynamic section, and the tags that matter: no elf.h, of which another architecture has its own. */
struct dynamic {
    int64_t tag;
    uint64_t value;
};
enum { END = 0, RELR_SIZE = 35, RELR = 36 };

extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern struct dynamic _DYNAMIC[] __attribute__((visibility("hidden")));

__attribute__((visibility("hidden"), used)) void relocate(void)
{
    const uint64_t base = (uint64_t)__ehdr_start;
    const uint64_t *entry = NULL, *end;
    uint64_t size = 0;

    for (struct dynamic *dynamic = _DYNAMIC; dynamic->tag != END; dynamic++) {
        if (dynamic->tag == RELR)
            entry = (const uint64_t *)(base + dynamic->value);
        else if (dynamic->tag == RELR_SIZE) {
            size = dynamic->value;
            dynamic->value = 0;
        }
    }

    /* An even entry is an address, an odd one a bit for each of the 63 words after the last. */
    uint64_t *word = NULL;
    for (end = entry + size / sizeof *entry; entry != end; entry++) {
        if (*entry % 2 == 0) {
            word = (uint64_t *)(base + *entry);
            *word++ += base;
        } else {
            for (int bit = 1; bit < 64; bit++)
                if (*entry >> bit & 1)
                    word[bit - 1] += base;
            word += 63;
        }
    }
}

/* The stack pointer leads to the arguments, and must reach _start as it is. */
__asm__(".pushsection .text.start_relocated, \"ax\", %progbits\n"
        ".globl start_relocated\n"
        ".hidden start_relocated\n"
        ".type start_relocated, %function\n"
        "start_relocated:\n"
#if defined __x86_64__
        /* rbx outlives the call. */
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rbx\n"
        "    and $-16, %rsp\n"
        "    call relocate\n"
        "    mov %rbx, %rsp\n"
        "    jmp _start\n"
#elif defined __aarch64__
        /* A call pushes nothing, and whoever is called gives the stack pointer back; _start clears x29 and x30. */
        "    bl relocate\n"
        "    b _start\n"
#else
#error "how does a program begin on this architecture?"
#endif
        ".size start_relocated, . - start_relocated\n"
        ".popsection\n");
