//! Times as people type them.

use duet_core::Timestamp;
use jiff::{civil::DateTime, tz::TimeZone};

/// The advice for any other input.
const ADVICE: &str = "Give a date such as 2026-05-01, or a time such as 2026-05-01T14:00Z.";

/// A time with its offset from UTC, or one in the time zone of this machine (or of `TZ`); a date alone is its first moment.
pub fn given(text: &str) -> Result<Timestamp, &'static str> {
    in_zone(text, TimeZone::system())
}

fn in_zone(text: &str, zone: TimeZone) -> Result<Timestamp, &'static str> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let here = text.parse::<DateTime>().and_then(|time| time.to_zoned(zone));
    here.map(|time| Timestamp::from_millis(time.timestamp().as_millisecond()))
        .map_err(|_| ADVICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read_and_other_words_are_not() {
        let tokyo = || TimeZone::fixed(jiff::tz::offset(9));
        for (text, time) in [
            ("2026-05-01T14:00Z", "2026-05-01T14:00:00.000Z"),
            ("2026-05-01T14:00:30+02:00", "2026-05-01T12:00:30.000Z"),
            (" 2026-05-01 ", "2026-04-30T15:00:00.000Z"),
            ("2026-05-01T14:00", "2026-05-01T05:00:00.000Z"),
            ("2026-05-01 14:00", "2026-05-01T05:00:00.000Z"),
        ] {
            assert_eq!(in_zone(text, tokyo()).map(|at| at.to_string()), Ok(time.to_owned()), "{text}");
        }
        for text in ["tomorrow", "", "2026-13-01", "14:00", "1777644000"] {
            assert_eq!(in_zone(text, tokyo()), Err(ADVICE), "{text}");
        }
    }
}
