//! `matrix.txt`: the expectations, cell by cell; and their form for readers.

use anyhow::{Context, Result, ensure};

use crate::{Actor, words};

/// The file.
const TEXT: &str = include_str!("../matrix.txt");

/// The rows of a table's part: the commands, and what functions may do for the actor.
pub const COMMANDS: [&str; 5] = ["select", "insert", "update", "delete", "call"];

/// What an actor may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing is granted.
    Refused,
    /// Granted, but no row is visible.
    None,
    /// Their own rows in their workspaces.
    Own,
    /// Their own and nobody's rows in their workspaces.
    Shared,
    /// All rows in their workspaces.
    Workspace,
    /// All rows in the workspaces they own.
    Owned,
    /// Their own rows in their workspaces, and all rows in those they own.
    Managed,
    /// Rows that were not there before.
    New,
    /// Themselves and the people they share a workspace with.
    People,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which rows.
    pub reach: Reach,
    /// Which columns, if not all.
    pub columns: Vec<String>,
}

/// The expectations for a table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name, with its schema.
    pub name: String,
    /// The workspace of a row `t`, if rows have one.
    pub workspace: Option<String>,
    /// The person of a row `t`, if rows have one.
    pub person: Option<String>,
    /// Columns whose content appears in no answer.
    pub secret: Vec<String>,
    /// Columns that look like secrets but are not.
    pub open: Vec<String>,
    /// Columns that an actor with insert rights can set.
    pub insertable: Vec<String>,
    /// Columns for which the world's rows need not be in every state.
    pub stateless: Vec<String>,
    cells: Vec<(&'static str, Vec<Cell>)>,
    only: Vec<Narrowing>,
    shows: Vec<(Vec<Actor>, String)>,
    also: Vec<(Vec<Actor>, String)>,
}

/// What a cell excludes for some actors.
#[derive(Clone, Debug)]
struct Narrowing {
    commands: Vec<String>,
    actors: Vec<Actor>,
    condition: String,
}

impl Table {
    /// The cell of a command and an actor.
    ///
    /// # Panics
    /// When there is no such command.
    pub fn cell(&self, command: &str, actor: Actor) -> &Cell {
        let (_, cells) = self
            .cells
            .iter()
            .find(|(name, _)| *name == command)
            .expect("a command of the matrix");
        let place = Actor::COLUMNS
            .iter()
            .position(|one| *one == actor.column())
            .expect("an actor of the matrix");
        &cells[place]
    }

    /// The rows `t` that a command affects, as a condition.
    pub fn condition(&self, command: &str, actor: Actor) -> String {
        self.condition_within(command, actor, actor.workspaces())
    }

    /// The rows `t` that the actor's calls of functions may change, as a condition.
    pub fn changeable(&self, actor: Actor) -> String {
        let mut conditions = vec![self.condition_within("call", actor, &[actor.workspaces(), actor.invited()].concat())];
        let also = self.also.iter().filter(|(actors, _)| actors.contains(&actor));
        conditions.extend(also.map(|(_, condition)| actor.place().fill(condition)));
        format!("(({}))", conditions.join(") or ("))
    }

    /// The rows `t` that answers may reveal to the actor, as a condition: what they may read, and what functions show them.
    pub fn tellable(&self, actor: Actor) -> String {
        let workspaces = [actor.workspaces(), actor.invited()].concat();
        let mut conditions = vec![self.condition_within("select", actor, &workspaces)];
        conditions.extend(
            self.shows
                .iter()
                .filter(|(actors, _)| actors.contains(&actor))
                .map(|(_, condition)| match reach(condition) {
                    Some(reach) => self.condition_in(&reach, actor, &workspaces),
                    None => actor.place().fill(condition),
                }),
        );
        format!("(({}))", conditions.join(") or ("))
    }

    fn condition_within(&self, command: &str, actor: Actor, workspaces: &[&str]) -> String {
        let mut condition = format!("({})", self.condition_in(&self.cell(command, actor).reach, actor, workspaces));
        for only in &self.only {
            if only.actors.contains(&actor) && only.commands.iter().any(|one| one == command) {
                condition.push_str(&format!(" and ({})", actor.place().fill(&only.condition)));
            }
        }
        condition
    }

    fn condition_in(&self, reach: &Reach, actor: Actor, workspaces: &[&str]) -> String {
        let me = words::person_id(actor.place().person);
        let known = list(&words::WORKSPACES);
        // Including those that the actor creates along the way.
        let made = format!("select w.id from duet.workspace w where w.created_by = {me} and w.id <> all ({known})");
        let mine = format!("({}::uuid[] || array({made}))", list(workspaces));
        let owned = format!("({}::uuid[] || array({made}))", list(actor.owned()));
        let workspace = self.workspace.as_deref().unwrap_or("null::uuid");
        let person = self.person.as_deref().unwrap_or("null::uuid");
        match reach {
            Reach::Refused | Reach::None => "false".into(),
            Reach::Own => format!("{workspace} = any ({mine}) and {person} = {me}"),
            Reach::Shared => format!("{workspace} = any ({mine}) and ({person} is null or {person} = {me})"),
            Reach::Workspace => format!("{workspace} = any ({mine})"),
            Reach::Owned => format!("{workspace} = any ({owned})"),
            Reach::Managed => format!("({workspace} = any ({mine}) and {person} = {me} or {workspace} = any ({owned}))"),
            Reach::New => "age(t.xmin) <= age(pg_current_xact_id()::xid)".into(),
            Reach::People => format!(
                "({person} = {me} or {person} in (select m.user_id from duet.member m where m.workspace_id = any ({mine})))"
            ),
        }
    }
}

fn list(workspaces: &[&str]) -> String {
    let ids: Vec<String> = workspaces.iter().map(|name| words::workspace_id(name)).collect();
    format!("array[{}]::uuid[]", ids.join(", "))
}

/// The declared matrix.
pub fn declared() -> Result<Vec<Table>> {
    parse(TEXT)
}

fn parse(text: &str) -> Result<Vec<Table>> {
    let mut tables: Vec<Table> = Vec::new();
    let actors: Vec<&str> = Actor::COLUMNS.iter().map(|actor| actor.name()).collect();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0].contains('.') {
            ensure!(words.len() > 2, "A table has a workspace and a person: {line}");
            let some = |text: &str| (text != "-").then(|| text.to_owned());
            tables.push(Table {
                name: words[0].into(),
                workspace: some(words[1]),
                person: some(&words[2..].join(" ")),
                secret: Vec::new(),
                open: Vec::new(),
                insertable: Vec::new(),
                stateless: Vec::new(),
                cells: Vec::new(),
                only: Vec::new(),
                shows: Vec::new(),
                also: Vec::new(),
            });
            continue;
        }
        if line.starts_with(' ') {
            ensure!(words == actors, "The columns are {actors:?}, not: {line}");
            continue;
        }
        let table = tables.last_mut().context("The matrix begins with a table.")?;
        let named = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        match words.as_slice() {
            ["secret", columns] => table.secret.extend(named(columns)),
            ["open", columns] => table.open.extend(named(columns)),
            ["insertable", columns] => table.insertable.extend(named(columns)),
            ["stateless", columns, ..] => table.stateless.extend(named(columns)),
            ["only", commands, actors, condition @ ..] => table.only.push(Narrowing {
                commands: named(commands),
                actors: group(actors)?,
                condition: condition.join(" "),
            }),
            ["also", "call", actors, condition @ ..] => table.also.push((group(actors)?, condition.join(" "))),
            ["shows", actors, condition @ ..] => table.shows.push((group(actors)?, condition.join(" "))),
            _ => {}
        }
        if matches!(
            words[0],
            "secret" | "open" | "insertable" | "stateless" | "only" | "also" | "shows"
        ) {
            continue;
        }
        let command = *COMMANDS
            .iter()
            .find(|command| **command == words[0])
            .with_context(|| format!("`{}` is no command.", words[0]))?;
        ensure!(
            words.len() == 1 + actors.len(),
            "{}: a cell for each actor: {line}",
            table.name
        );
        let cells = words[1..].iter().map(|word| cell(word)).collect::<Result<_>>()?;
        table.cells.push((command, cells));
    }
    for table in &tables {
        let commands: Vec<&str> = table.cells.iter().map(|(command, _)| *command).collect();
        ensure!(commands == COMMANDS, "{} has the rows {commands:?}.", table.name);
    }
    Ok(tables)
}

/// A comma-separated list of actors, or `people`, or `agents`.
fn group(names: &str) -> Result<Vec<Actor>> {
    let mut actors = Vec::new();
    for name in names.split(',') {
        match name {
            "people" => actors.extend(Actor::callers().filter(|actor| !actor.is_agent())),
            "agents" => actors.extend(Actor::callers().filter(|actor| actor.is_agent())),
            name => actors.push(Actor::named(name).with_context(|| format!("`{name}` is nobody."))?),
        }
    }
    Ok(actors)
}

fn cell(word: &str) -> Result<Cell> {
    let (name, columns) = match word.split_once('(') {
        Some((name, columns)) => (name, columns.strip_suffix(')').context("A cell's bracket closes.")?),
        None => (word, ""),
    };
    let reach = reach(name).with_context(|| format!("`{word}` is no cell."))?;
    let columns = columns
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(Cell { reach, columns })
}

fn reach(name: &str) -> Option<Reach> {
    Some(match name {
        "refused" => Reach::Refused,
        "none" => Reach::None,
        "own" => Reach::Own,
        "shared" => Reach::Shared,
        "workspace" => Reach::Workspace,
        "owned" => Reach::Owned,
        "managed" => Reach::Managed,
        "new" => Reach::New,
        "people" => Reach::People,
        _ => return None,
    })
}

/// The matrix as a Markdown document.
pub fn markdown() -> Result<String> {
    let mut text = String::from(
        "# Who may do what in Postgres\n\n\
         Generated from `rls-tests/matrix.txt` by `cargo xtask gen`. `cargo xtask test --only rls` attacks a real database cell by cell \
         and fails when one cell differs, in either direction.\n\n",
    );
    for line in TEXT.lines().take_while(|line| line.starts_with('#')) {
        if let Some((word, meaning)) = line.strip_prefix("#   ").and_then(|line| line.trim_start().split_once("  ")) {
            let word = if word == "refused" { "–" } else { word };
            text.push_str(&format!("- `{word}`: {}\n", meaning.trim()));
        }
    }
    text.push_str(
        "\nRows that belong to nobody in particular count as `shared`. An agent is in one workspace, that of its run, for one member. \
         `worker` is the server's login before it takes on a role. `call` is what may come, change or go when the actor calls functions, \
         with whatever arguments.\n",
    );
    let actors: Vec<&str> = Actor::COLUMNS.iter().map(|actor| actor.name()).collect();
    for table in declared()? {
        text.push_str(&format!(
            "\n## {}\n\n| | {} |\n|---|{}\n",
            table.name,
            actors.join(" | "),
            "---|".repeat(actors.len())
        ));
        for command in COMMANDS {
            let cells: Vec<String> = Actor::COLUMNS
                .iter()
                .map(|actor| shown(table.cell(command, *actor)))
                .collect();
            text.push_str(&format!("| {command} | {} |\n", cells.join(" | ")));
        }
        for only in &table.only {
            let actors: Vec<&str> = only.actors.iter().map(|actor| actor.name()).collect();
            text.push_str(&format!(
                "\n{} by {}: only where `{}`.\n",
                only.commands.join(", "),
                actors.join(", "),
                only.condition
            ));
        }
        if !table.secret.is_empty() {
            text.push_str(&format!("\nIn no answer: `{}`.\n", table.secret.join("`, `")));
        }
    }
    Ok(text)
}

fn shown(cell: &Cell) -> String {
    let reach = match cell.reach {
        Reach::Refused => "–",
        Reach::None => "none",
        Reach::Own => "own",
        Reach::Shared => "shared",
        Reach::Workspace => "workspace",
        Reach::Owned => "owned",
        Reach::Managed => "managed",
        Reach::New => "new",
        Reach::People => "people",
    };
    match cell.columns.as_slice() {
        [] => reach.to_owned(),
        columns => format!("{reach} ({})", columns.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole() {
        let tables = declared().unwrap();
        let run = tables.iter().find(|table| table.name == "duet.run").unwrap();
        assert_eq!(run.cell("select", Actor::Agent).reach, Reach::Own);
        assert_eq!(run.cell("update", Actor::Owner).reach, Reach::Refused);
        assert!(markdown().unwrap().contains("## duet.run\n"));
        let memory = tables.iter().find(|table| table.name == "duet.memory").unwrap();
        assert!(memory.condition("select", Actor::Bare).contains("false"));
        assert!(!run.secret.is_empty());
        let columns = cell("owned(name,text)").unwrap();
        assert_eq!((columns.reach, columns.columns.len()), (Reach::Owned, 2));
    }

    #[test]
    fn a_missing_row_or_cell_is_seen() {
        let actors = "  anon stranger ex-member member owner agent worker";
        assert!(parse(&format!("a.b - -\n{actors}\nselect none none none none none none none")).is_err());
        assert!(parse(&format!("a.b - -\n{actors}\nselect none")).is_err());
        assert!(parse("a.b - -\n  anon member\n").is_err());
    }
}
