//! Days: as CHANGELOG.md has them, and as manual pages and Debian's changelogs want them.
//!
//! Decides nothing. The calendar is the Gregorian one, by Hinnant's "chrono-Compatible Low-Level Date Algorithms".

#![forbid(unsafe_code)]

use std::fmt;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: u64 = 24 * 60 * 60;

/// A moment since 1970, in UTC. Displayed as its day: `2026-11-22`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    seconds: u64,
}

impl Date {
    pub(crate) fn of_seconds(seconds: u64) -> Self {
        Self { seconds }
    }

    /// The beginning of a day, from `2026-11-22`.
    pub(crate) fn of_day(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.parse::<u64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        // A year begins with March here, so that the day that comes and goes is its last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        let date = Self { seconds: days.checked_sub(719_468)? * DAY };
        (is_date && parts.next().is_none() && date.to_string() == text).then_some(date)
    }

    fn day(self) -> (u64, u64, u64) {
        let days = self.seconds / DAY + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        (era * 400 + year + carry, month, day)
    }

    /// As in a mail's header: `Sun, 22 Nov 2026 05:52:18 +0000`.
    pub(crate) fn of_mail(self) -> String {
        let (year, month, day) = self.day();
        let weekday = WEEKDAYS[(self.seconds / DAY % 7) as usize];
        let (hour, minute, second) = (self.seconds / 3600 % 24, self.seconds / 60 % 60, self.seconds % 60);
        let month = MONTHS[month as usize - 1];
        format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.day();
        write!(f, "{year}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `date -u -R -d @SECONDS` says.
    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day, mail) in [
            (0, "1970-01-01", "Thu, 01 Jan 1970 00:00:00 +0000"),
            (951_782_399, "2000-02-28", "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400, "2000-02-29", "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_709_251_199, "2024-02-29", "Thu, 29 Feb 2024 23:59:59 +0000"),
            (1_795_326_738, "2026-11-22", "Sun, 22 Nov 2026 05:52:18 +0000"),
            (4_107_542_400, "2100-03-01", "Mon, 01 Mar 2100 00:00:00 +0000"),
        ] {
            let date = Date::of_seconds(seconds);
            assert_eq!((date.to_string().as_str(), date.of_mail().as_str()), (day, mail), "{seconds}");
            assert_eq!(Date::of_day(day), Some(Date::of_seconds(seconds / DAY * DAY)), "{day}");
        }
        for text in [
            "unreleased",
            "2026-2-1",
            "2026-13-01",
            "2025-02-29",
            "2026-00-10",
            "2026-01-01-01",
            "1970-01",
            "1969-12-31",
        ] {
            assert_eq!(Date::of_day(text), None, "{text}");
        }
    }
}
