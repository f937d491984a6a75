/* Entry of a guest image, by multiboot 1 (0.6.96) or PVH (Xen's x86/HVM direct boot ABI). Both start
 * in 32-bit protected mode without paging; this goes to long mode with the low 4 GiB mapped one to
 * one by 2 MiB pages. .bss is not cleared here on purpose: the loader has to do it. */

#define CR0_START   0x80010033  /* PG WP NE ET MP PE */
#define CR4_START   0x620       /* OSXMMEXCPT OSFXSR PAE */
#define MSR_EFER    0xC0000080
#define EFER_LME    0x100
#define PVH_MAGIC   0x336EC578

    .section .multiboot, "a", @progbits
    .balign 4
    .long 0x1BADB002
    .long 0x00000002            /* wants memory information */
    .long -(0x1BADB002 + 0x00000002)

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18              /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_entry

    .text
    .code32
    .globl multiboot_entry
multiboot_entry:
    movl %eax, %edi
    jmp enter_long_mode
pvh_entry:
    movl $PVH_MAGIC, %edi
enter_long_mode:
    movl %ebx, %esi
    cli
    cld

    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax             /* page size, writable, present */
    movl %eax, page_directories(, %ecx, 8)
    movl $0, page_directories + 4(, %ecx, 8)
    incl %ecx
    cmpl $2048, %ecx
    jne 1b
    xorl %ecx, %ecx
2:  movl %ecx, %eax
    shll $12, %eax
    addl $(page_directories + 3), %eax
    movl %eax, page_directory_pointers(, %ecx, 8)
    movl $0, page_directory_pointers + 4(, %ecx, 8)
    incl %ecx
    cmpl $4, %ecx
    jne 2b
    movl $(page_directory_pointers + 3), page_root
    movl $0, page_root + 4

    movl $CR4_START, %eax
    movl %eax, %cr4
    movl $page_root, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl $CR0_START, %eax
    movl %eax, %cr0
    lgdtl gdt_pointer
    ljmp $0x08, $bsp_start

    .code64
bsp_start:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl $bsp_stack_top, %esp
    movl %edi, %edi
    movl %esi, %esi
    xorl %ebp, %ebp
    call guest_start
3:  cli
    hlt
    jmp 3b

ap_start:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $1, %edi
    lock xaddl %edi, ap_starts
    movl %edi, %eax
    andl $255, %eax
    incl %eax
    shll $12, %eax
    leaq ap_stacks(%rax), %rsp
    xorl %ebp, %ebp
    call ap_start_cpp
4:  cli
    hlt
    jmp 4b

/* Copied to 0x8000; an AP begins here in real mode with CS:IP = 0800:0000. */
    .section .rodata
    .globl trampoline_begin, trampoline_end
    .code16
trampoline_begin:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl 0x8000 + (trampoline_gdt_pointer - trampoline_begin)
    movl $CR4_START, %eax
    movl %eax, %cr4
    movl $page_root, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl $CR0_START, %eax
    movl %eax, %cr0
    ljmpl $0x08, $ap_start
    .balign 8
trampoline_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:
    .code64

    .balign 8
gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF    /* 08: 64-bit code */
    .quad 0x00CF93000000FFFF    /* 10: data */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .bss
    .balign 4096
    .globl page_root, ap_starts
page_root:
    .skip 4096
page_directory_pointers:
    .skip 4096
page_directories:
    .skip 4 * 4096
    .skip 16384
bsp_stack_top:
ap_stacks:
    .skip 256 * 4096
ap_starts:
    .skip 4

    .section .note.GNU-stack, "", @progbits
