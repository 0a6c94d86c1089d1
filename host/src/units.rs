//! Programmatic units: how many bytes or hertz one is.
//!
//! The rule: DSP0004, annex C: a base unit, then factors: `byte * 2^20`, `hertz * 10^6`. Descriptors of OVF 0.9 and many
//! since have words instead.

#![forbid(unsafe_code)]

/// The factor of a unit; none if it is not understood.
pub fn parse(unit: &str) -> Option<u128> {
    let unit = unit.trim();
    let mut factors = unit.split('*').map(str::trim);
    let base = factors.next()?.to_ascii_lowercase();
    let mut total: u128 = match base.as_str() {
        "" | "byte" | "bytes" | "hertz" | "hz" | "count" | "processor" => 1,
        "kilobytes" | "kilobyte" | "kb" => 1 << 10,
        "megabytes" | "megabyte" | "mb" => 1 << 20,
        "gigabytes" | "gigabyte" | "gb" => 1 << 30,
        "terabytes" | "terabyte" | "tb" => 1 << 40,
        "mhz" | "megahertz" => 1_000_000,
        "ghz" | "gigahertz" => 1_000_000_000,
        _ => return None,
    };
    for factor in factors {
        let (base, exponent) =
            factor.split_once('^').map_or((factor, "1"), |(base, exponent)| (base, exponent));
        let base: u128 = base.trim().parse().ok()?;
        total = total.checked_mul(base.checked_pow(exponent.trim().parse().ok()?)?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_are_understood_in_all_their_forms() {
        for (unit, want) in [
            ("byte * 2^20", Some(1 << 20)),
            ("byte*2^30", Some(1 << 30)),
            ("byte", Some(1)),
            ("MegaBytes", Some(1 << 20)),
            ("hertz * 10^6", Some(1_000_000)),
            ("MHz", Some(1_000_000)),
            ("byte * 2^200", None),
            ("byte * x", None),
            ("parsec", None),
        ] {
            assert_eq!(parse(unit), want, "{unit}");
        }
    }
}
