//! The CPUID instruction, where there is one.

/// Leaf `leaf`, sub-leaf 0, as `[EAX, EBX, ECX, EDX]`; `None` on an architecture without CPUID.
#[cfg(target_arch = "x86_64")]
pub fn leaf(leaf: u32) -> Option<[u32; 4]> {
    let r = std::arch::x86_64::__cpuid_count(leaf, 0);
    Some([r.eax, r.ebx, r.ecx, r.edx])
}

/// Leaf `leaf`, sub-leaf 0, as `[EAX, EBX, ECX, EDX]`; `None` on an architecture without CPUID.
#[cfg(not(target_arch = "x86_64"))]
pub fn leaf(_leaf: u32) -> Option<[u32; 4]> {
    None
}
