//! The one-time token that makes the first person the owner.

use duet_core::Env;

use super::secret;

/// Letters and digits that cannot be mistaken for one another (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new token: what is shown (`XXXX-XXXX-XXXX-XXXX-XXXX`, 100 random bits), and the hash to store.
pub fn new_token(env: &Env) -> (String, [u8; 32]) {
    let letters: Vec<char> = env
        .bytes::<20>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    let shown = groups.join("-");
    let hash = hash_token(&shown);
    (shown, hash)
}

/// The hash of a token as a person types it: case, dashes, spaces and look-alike letters do not matter.
pub fn hash_token(typed: &str) -> [u8; 32] {
    let canonical: String = typed
        .chars()
        .filter(|letter| !letter.is_whitespace() && *letter != '-')
        .map(|letter| match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    secret::hash(&canonical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    #[test]
    fn a_token_is_typeable_and_forgiving() {
        let (shown, hash) = new_token(&env());
        assert_eq!(shown.len(), 24);
        assert_eq!(shown.split('-').count(), 5);
        assert_eq!(hash_token(&shown), hash);
        assert_eq!(hash_token(&shown.to_lowercase().replace('-', " ")), hash);
        assert_eq!(hash_token(&shown.replace('0', "o").replace('1', "l")), hash);
        assert_ne!(hash_token(&format!("{shown}X")), hash);
        assert_ne!(new_token(&env()).0, shown);
    }
}
