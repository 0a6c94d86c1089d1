# What a boot loader starts in place of the kernel's own unpacker, which needs three seconds under emulation: the kernel lies
# behind it as it is, and is moved to its place and entered.
#
# The boot loader enters at 1 MiB in protected mode without paging, with the address of its parameters in %esi. The kernel wants
# long mode, all it touches first mapped to where it is, and that address in %rsi. (Linux' Documentation/x86/boot.rst, sections 1.12
# and 1.13.) qemu-tests/guest-kernel assembles this, with
#   kernel    the file that holds the kernel's memory, as far as it is not zero
#   PLACE     where in memory that begins, and the kernel is entered
#   LENGTH    its bytes, and
#   MEMORY    those of all of the kernel's memory

    .code32
    .globl _start
_start:
    cli
    movl    %esi, %ebp
    # Its place is above where it lies, and the two overlap: the last word is moved first.
    std
    movl    $kernel + LENGTH - 4, %esi
    movl    $PLACE + LENGTH - 4, %edi
    movl    $LENGTH / 4, %ecx
    rep movsl
    # After a reset the rest holds what the last boot has left.
    cld
    movl    $PLACE + LENGTH, %edi
    movl    $(MEMORY - LENGTH) / 4, %ecx
    xorl    %eax, %eax
    rep stosl

    lgdt    segments_pointer
    movl    %cr4, %eax
    orl     $0x20, %eax             # physical address extension
    movl    %eax, %cr4
    movl    $level4, %eax
    movl    %eax, %cr3
    movl    $0xc0000080, %ecx       # EFER
    rdmsr
    orl     $0x100, %eax            # long mode enable
    wrmsr
    movl    $0x80000001, %eax       # paging, protected mode
    movl    %eax, %cr0
    ljmp    $0x10, $long_mode

    .code64
long_mode:
    movl    %ebp, %esi
    movl    $PLACE, %eax
    jmp     *%rax

    .balign 8
segments:
    .quad   0, 0
    .quad   0x00af9a000000ffff      # 0x10: code
    .quad   0x00cf92000000ffff      # 0x18: data
segments_pointer:
    .word   . - segments - 1
    .long   segments

    # The first 4 GiB, in pages of 2 MiB.
    .balign 4096
level4:
    .long   level3 + 3, 0
    .fill   511, 8, 0
level3:
    .long   level2 + 3, 0, level2 + 0x1003, 0, level2 + 0x2003, 0, level2 + 0x3003, 0
    .fill   508, 8, 0
level2:
    .set    page, 0
    .rept   2048
    .quad   page + 0x83
    .set    page, page + 0x200000
    .endr

kernel:
    .incbin "kernel"
