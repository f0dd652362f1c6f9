//! The placeholders in braces of `world.sql`, `calls.txt`, `matrix.txt` and `cases/`, and the persons and workspaces that they stand
//! for.

/// A person in a workspace of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The workspace.
    pub workspace: &'static str,
    /// The person.
    pub person: &'static str,
}

/// `{limits}`: the limits of a turn.
const LIMITS: &str = r#"{"max_steps": 8, "max_identical_calls": 2, "max_tokens": 1000, "max_attempts": 3, "max_output_tokens": 500,
        "max_reply_bytes": 10000, "max_argument_bytes": 10000, "max_calls_per_reply": 8, "max_calls": 16, "max_memories": 8,
        "max_seconds": 60}"#;

/// Everybody with an account.
pub const PEOPLE: [&str; 5] = ["owner", "member", "former", "stranger", "bystander"];

/// The workspaces.
pub const WORKSPACES: [&str; 3] = ["A", "B", "C"];

impl Place {
    /// The owner of the workspace that is attacked most.
    pub const OWNER: Self = Self::new("A", "owner");
    /// A member of it.
    pub const MEMBER: Self = Self::new("A", "member");
    /// A former member of it.
    pub const FORMER: Self = Self::new("A", "former");
    /// The owner of another workspace.
    pub const STRANGER: Self = Self::new("B", "stranger");
    /// The same member in another workspace of the same owner.
    pub const ELSEWHERE: Self = Self::new("C", "member");
    /// Nobody: its ids do not exist in the database.
    pub const NOWHERE: Self = Self::new("nowhere", "nobody");

    /// Everybody in every workspace, including the former member.
    pub const ALL: [Self; 7] = [
        Self::OWNER,
        Self::MEMBER,
        Self::FORMER,
        Self::STRANGER,
        Self::new("B", "bystander"),
        Self::new("C", "owner"),
        Self::ELSEWHERE,
    ];

    /// A person in a workspace.
    pub const fn new(workspace: &'static str, person: &'static str) -> Self {
        Self { workspace, person }
    }

    /// A person's home workspace.
    fn home(person: &str) -> Self {
        *Self::ALL
            .iter()
            .find(|place| place.person == person)
            .expect("everybody has a workspace")
    }

    /// `{member:run}` is `{my:run}` of the member, wherever it appears; `{member:the_agent}` and `{member:bytes_x}` work the same
    /// way.
    fn of_another(self, kind: &str) -> String {
        match kind.split_once('_') {
            _ if matches!(kind, "ws" | "me") => self.word(kind),
            Some((whose @ ("the" | "bytes"), kind)) => self.word(&format!("{whose}:{kind}")),
            _ => self.word(&format!("my:{kind}")),
        }
    }

    /// The workspace's owner.
    pub fn maker(self) -> &'static str {
        match self.workspace {
            "A" | "C" => "owner",
            "B" => "stranger",
            _ => "nobody",
        }
    }

    /// Replaces the placeholders by SQL expressions.
    ///
    /// # Panics
    /// On an unknown placeholder: the files are part of this suite.
    pub fn fill(self, template: &str) -> String {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, word, after)) = next_word(rest) {
            text.push_str(before);
            text.push_str(&self.word(word));
            rest = after;
        }
        text + rest
    }

    fn word(self, word: &str) -> String {
        let Self { workspace, person } = self;
        let uuid = |seed: String| format!("md5('{seed}')::uuid");
        match word.split_once(':') {
            None if word == "ws" => workspace_id(workspace),
            None if word == "me" => person_id(person),
            None if word == "maker" => person_id(self.maker()),
            None if word == "name" => format!("'{person}'"),
            None if word == "limits" => format!("'{LIMITS}'"),
            Some(("my", kind)) => uuid(format!("{workspace}/{person}/{kind}")),
            Some(("the", kind)) => uuid(format!("{workspace}//{kind}")),
            Some(("new", kind)) => uuid(format!("new/{kind}")),
            Some(("bytes", kind)) => format!("sha256('{workspace}/{person}/{kind}'::bytea)"),
            Some(("mark", kind)) => format!("'mark-{workspace}-{person}-{kind}'"),
            Some((other, kind)) if PEOPLE.contains(&other) => Self::home(other).of_another(kind),
            _ => panic!("`{{{word}}}` is no word of world.sql and calls.txt"),
        }
    }
}

/// The id of a workspace as SQL.
pub fn workspace_id(name: &str) -> String {
    format!("md5('workspace/{name}')::uuid")
}

/// The id of a person as SQL.
pub fn person_id(name: &str) -> String {
    format!("md5('account/{name}')::uuid")
}

/// The kind of thing a placeholder means: a run for `{my:run_queued}`. A secret is a private memory.
pub fn kind(word: &str) -> &str {
    let inside = word.trim_matches(['{', '}']);
    let name = inside.split_once(':').map_or(inside, |(_, name)| name);
    match name.split('_').next().unwrap_or_default() {
        "secret" => "memory",
        kind => kind,
    }
}

/// The placeholders of a text, without duplicates.
pub fn words_of(template: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = template;
    while let Some((_, word, after)) = next_word(rest) {
        let word = format!("{{{word}}}");
        if !words.contains(&word) {
            words.push(word);
        }
        rest = after;
    }
    words
}

/// The next placeholder, with the text before and after it. JSON's braces are followed by a quote or a space, or closed at once.
fn next_word(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let inside = &text[open + 1..];
        let length = inside
            .find(|c: char| !(c.is_ascii_lowercase() || c == ':' || c == '_'))
            .unwrap_or(inside.len());
        let word = &inside[..length];
        let known = word.contains(':') || matches!(word, "ws" | "me" | "maker" | "name" | "limits");
        if known && inside[length..].starts_with('}') {
            return Some((&text[..open], word, &inside[length + 1..]));
        }
        from = open + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_sql_and_json_stays() {
        let filled = Place::MEMBER.fill(r#"f({ws}, {my:run}, '{"a": {}}', '{chat}')"#);
        assert_eq!(
            filled,
            r#"f(md5('workspace/A')::uuid, md5('A/member/run')::uuid, '{"a": {}}', '{chat}')"#
        );
        assert_eq!(words_of("{my:a} {ws} {my:a} {chat}"), ["{my:a}", "{ws}"]);
    }

    #[test]
    fn what_is_anothers_is_the_same_for_everybody() {
        assert_eq!(Place::STRANGER.fill("{member:run}"), Place::MEMBER.fill("{my:run}"));
        assert_eq!(Place::OWNER.fill("{stranger:the_agent}"), Place::STRANGER.fill("{the:agent}"));
        assert_eq!(
            Place::OWNER.fill("{former:bytes_welcome}"),
            Place::FORMER.fill("{bytes:welcome}")
        );
        assert_eq!((kind("{my:run_queued}"), kind("{new:run}")), ("run", "run"));
        assert_eq!((kind("{my:secret_older}"), kind("{me}")), ("memory", "me"));
    }

    #[test]
    fn what_belongs_to_the_workspace_is_the_same_for_all_in_it() {
        assert_eq!(Place::MEMBER.fill("{the:agent}"), Place::OWNER.fill("{the:agent}"));
        assert_ne!(Place::MEMBER.fill("{my:run}"), Place::OWNER.fill("{my:run}"));
        assert_ne!(Place::MEMBER.fill("{the:agent}"), Place::ELSEWHERE.fill("{the:agent}"));
    }
}
