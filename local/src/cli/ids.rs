//! Ids as people type them: in full, or a beginning that only one has.

use duet_core::ids::{IdPrefix, MemoryId};

use super::exit::{Failure, Outcome};

/// The id in canonical form, if it was given in full.
pub fn whole(given: &str) -> Option<String> {
    given.parse::<MemoryId>().ok().map(|id| id.to_string())
}

/// The ids in `all` that begin like this.
pub fn begun(all: impl IntoIterator<Item = String>, given: &str) -> Vec<String> {
    let Ok(prefix) = given.parse::<IdPrefix>() else {
        return Vec::new();
    };
    let (low, high) = prefix.range();
    let (low, high) = (low.to_string(), high.to_string());
    all.into_iter().filter(|id| (&low..=&high).contains(&id)).collect()
}

/// The only match among the `things`, or what to do about none or several.
pub fn only(found: Vec<String>, things: &str, given: &str) -> Outcome<String> {
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::not_found(format!(
            "None of the {things} has an id that begins with `{given}`."
        ))),
        several => Err(Failure::usage(format!(
            "Several {things} have an id that begins with `{given}`: {}. Write more of it.",
            several.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_names_one_none_or_several() {
        let all = || ["0198fe12-3456-7abc-8def-0123456789ab", "0198fe12-9456-7abc-8def-0123456789ab"].map(str::to_owned);
        let pick = |given: &str| only(begun(all(), given), "keys", given);
        assert_eq!(pick("0198FE12-3").unwrap(), all()[0]);
        assert_eq!(pick("0198fe129").unwrap(), all()[1]);
        assert_eq!(pick(&all()[1]).unwrap(), all()[1]);
        assert_eq!(whole(&all()[1].to_uppercase()), Some(all()[1].clone()));
        let several = pick("0198").unwrap_err().to_string();
        assert!(several.contains(&all().join(", ")), "{several}");
        for none in ["77", "", "last", "../x"] {
            assert!(pick(none).unwrap_err().to_string().contains("None of the keys"), "{none}");
        }
    }
}
