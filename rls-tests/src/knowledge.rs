//! What an actor may know: every id, hash and marked text of the world belongs to rows, and an actor who may not see any of these
//! rows must not get it in an answer, whatever they call.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use sqlx::Row;

use crate::{
    Actor,
    attempt::Stage,
    matrix::Table,
    words::{self, Place},
};

const WORLD: &str = include_str!("../world.sql");

/// Recognisable values: ids, hashes, and the marks of world.sql.
#[derive(Default)]
pub struct Knowledge {
    /// What the actor may not know, and a table that contains it.
    forbidden: HashMap<String, String>,
    /// The expression in statements that stands for it.
    expressions: HashMap<String, Vec<String>>,
}

impl Knowledge {
    /// The knowledge of an actor whose act the host has begun.
    pub async fn of(stage: &mut Stage, tables: &[&Table], actor: Actor) -> Result<Self> {
        let mut known = HashSet::new();
        let mut forbidden = HashMap::new();
        for table in tables {
            let secret: Vec<String> = table
                .secret
                .iter()
                .map(|column| format!("concat(t.{column}::text, ' ')"))
                .collect();
            let secret = if secret.is_empty() {
                "''".to_owned()
            } else {
                secret.join(" || ")
            };
            let rows = stage
                .table(&format!(
                    "select t::text, ({})::text, coalesce(({}), false) from {} t",
                    secret,
                    table.tellable(actor),
                    table.name
                ))
                .await?;
            for row in rows {
                let (text, secret, seen): (String, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                let hidden: HashSet<String> = tokens(&secret).map(str::to_owned).collect();
                for token in tokens(&text).filter(|token| !hidden.contains(*token)) {
                    match seen {
                        true => drop(known.insert(token.to_owned())),
                        false => drop(forbidden.insert(token.to_owned(), table.name.clone())),
                    }
                }
                forbidden.extend(hidden.into_iter().map(|token| (token, format!("{} (a secret)", table.name))));
            }
        }
        forbidden.retain(|token, table| table.ends_with("(a secret)") || !known.contains(token));
        Ok(Self {
            forbidden,
            expressions: expressions(stage).await?,
        })
    }

    /// Whether a placeholder stands for what the actor may not know.
    pub fn is_forbidden(&self, word: &str, place: Place) -> bool {
        let expression = place.fill(word);
        self.forbidden
            .keys()
            .any(|token| self.expressions.get(token).is_some_and(|known| known.contains(&expression)))
    }

    /// What an answer contains that the actor may not know and did not pass in.
    pub fn leak(&self, statement: &str, answer: &str) -> Option<String> {
        let mut found = tokens(answer).filter_map(|token| {
            let table = self.forbidden.get(token)?;
            let said = statement.contains(token)
                || self
                    .expressions
                    .get(token)
                    .is_some_and(|known| known.iter().any(|expression| statement.contains(expression.as_str())));
            (!said).then(|| format!("{token} of {table}"))
        });
        found.next()
    }
}

/// The value of each placeholder for each person.
async fn expressions(stage: &mut Stage) -> Result<HashMap<String, Vec<String>>> {
    let mut asked = Vec::new();
    for word in words::words_of(WORLD) {
        for place in Place::ALL {
            asked.push(place.fill(&word));
        }
    }
    asked.sort();
    asked.dedup();
    let columns: Vec<String> = asked.iter().map(|expression| format!("({expression})::text")).collect();
    let values = stage.rows(&format!("select unnest(array[{}])", columns.join(", "))).await?;
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    for (value, expression) in values.iter().zip(asked) {
        for token in tokens(value) {
            known.entry(token.to_owned()).or_default().push(expression.clone());
        }
    }
    Ok(known)
}

/// The ids, hashes and marks in a text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter_map(|word| {
            let word = word.strip_prefix('x').filter(|rest| rest.len() >= 32).unwrap_or(word);
            let hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            let zero = word.bytes().all(|byte| byte == b'0' || byte == b'-');
            (word.starts_with("mark-") || hexadecimal && word.len() >= 32 && !zero).then_some(word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hashes_and_marks_are_told() {
        let text = r#"{"id": "0191d3a2-0000-7000-8000-0123456789ab", "h": "\\xABcdef0123456789abcdef0123456789", "t": "Words mark-A-member-words"}"#;
        let found: Vec<&str> = tokens(text).collect();
        assert_eq!(
            found,
            [
                "0191d3a2-0000-7000-8000-0123456789ab",
                "ABcdef0123456789abcdef0123456789",
                "mark-A-member-words"
            ]
        );
    }
}
