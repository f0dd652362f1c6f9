//! Text that a person gives as arguments or on the standard input.

use std::io::{self, IsTerminal, Read};

use super::exit::{Failure, Outcome};

/// The words as one text; `-`, or no words with something piped in, reads the standard input (at most `limit` bytes).
pub fn text(words: &[String], what: &str, limit: usize) -> Outcome<String> {
    match words {
        [] if io::stdin().is_terminal() => Err(Failure::usage(format!(
            "There is no text for {what}. Write it after the command, or pipe it in."
        ))),
        [] => piped(what, limit),
        [one] if one == "-" => piped(what, limit),
        words => Ok(words.join(" ")),
    }
}

/// [`text`], which must not be empty.
pub fn something(words: &[String], what: &str, limit: usize) -> Outcome<String> {
    let text = text(words, what, limit)?;
    match text.trim().is_empty() {
        true => Err(Failure::usage(format!(
            "The text for {what} is empty. Write it after the command, or pipe it in."
        ))),
        false => Ok(text),
    }
}

/// Parses a count of at least one.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("Ask for at least 1.".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("Give a whole number, such as 50.".to_owned()),
    }
}

/// The standard input as text.
pub fn piped(what: &str, limit: usize) -> Outcome<String> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("The standard input cannot be read: {error}.")))?;
    decode(bytes, what, limit)
}

fn decode(bytes: Vec<u8>, what: &str, limit: usize) -> Outcome<String> {
    if bytes.len() > limit {
        return Err(Failure::usage(format!(
            "The text for {what} is longer than {limit} bytes. Send it in parts."
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        Failure::usage(format!(
            "The text for {what} is not valid UTF-8 (first at byte {}). Convert it, for example with iconv.",
            error.utf8_error().valid_up_to() + 1
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_and_long_input_is_named() {
        assert!(
            decode(b"ab\xff".to_vec(), "the message", 10)
                .unwrap_err()
                .to_string()
                .contains("byte 3")
        );
        assert!(
            decode(vec![b'a'; 11], "the message", 10)
                .unwrap_err()
                .to_string()
                .contains("longer than 10")
        );
        assert_eq!(decode(b"ab".to_vec(), "the message", 2).unwrap(), "ab");
    }
}
