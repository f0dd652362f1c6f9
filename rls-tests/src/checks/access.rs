//! Every table, every command, every actor: compares what the database does with `matrix.txt`.

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage},
    catalogue,
    matrix::{Cell, Reach, Table},
    suite::Report,
};

const CHECK: &str = "matrix";

/// Finds cells that differ.
pub async fn access(stage: &mut Stage, tables: &[Table], report: &mut Report) -> Result<()> {
    let there = catalogue::tables(stage).await?;
    for actor in Actor::all() {
        for table in tables.iter().filter(|table| there.contains(&table.name)) {
            let columns = catalogue::columns(stage, &table.name).await?;
            stage.begin(actor).await?;
            let mut expected = Vec::new();
            for command in ["select", "update", "delete"] {
                expected.push(rows_where(stage, table, &table.condition(command, actor)).await?);
            }
            let [select, update, delete] = expected.try_into().unwrap_or_default();
            stage.take_on(actor).await?;
            let mut attack = Attack {
                stage: &mut *stage,
                table,
                actor,
                report: &mut *report,
            };
            attack.select(&select).await?;
            // Grants belong to roles, so one actor per role is enough.
            if matches!(actor, Actor::Anon | Actor::Member | Actor::Agent | Actor::Worker) {
                attack.columns(&columns).await?;
            }
            if actor.column() == actor {
                attack.update(&columns, update.len()).await?;
                attack.delete(delete.len()).await?;
                attack.insert().await?;
                attack.truncate().await?;
                attack.stage.step_back().await?;
                attack.insertable(&columns).await?;
            }
            stage.rollback().await?;
        }
    }
    Ok(())
}

async fn rows_where(stage: &mut Stage, table: &Table, condition: &str) -> Result<Vec<String>> {
    let mut rows = stage
        .rows(&format!("select t::text from {} t where {condition}", table.name))
        .await?;
    rows.sort();
    Ok(rows)
}

struct Attack<'a> {
    stage: &'a mut Stage,
    table: &'a Table,
    actor: Actor,
    report: &'a mut Report,
}

impl Attack<'_> {
    async fn attempt(&mut self, sql: &str) -> Result<Outcome> {
        self.report.tried += 1;
        self.stage.attempt(sql, Effects::TakenBack).await
    }

    fn differs(&mut self, command: &str, what: impl std::fmt::Display) {
        let who = self.actor.name();
        self.report
            .find(CHECK, format!("{}, {command}, {who}: {what}", self.table.name));
    }

    fn cell(&self, command: &str) -> Cell {
        self.table.cell(command, self.actor).clone()
    }

    async fn select(&mut self, expected: &[String]) -> Result<()> {
        let cell = self.cell("select");
        let outcome = self.attempt(&format!("select t::text from {} t", self.table.name)).await?;
        match outcome {
            Outcome::Refused { .. } if outcome.denied() && cell.reach == Reach::Refused => {}
            Outcome::Refused { code, message } => self.differs("select", format!("{code} {message}, where rows are expected")),
            Outcome::Rows(_) if cell.reach == Reach::Refused => self.differs("select", "is granted"),
            Outcome::Rows(mut rows) => {
                rows.sort();
                let more = rows.iter().filter(|row| !expected.contains(row)).count();
                let missing = expected.iter().filter(|row| !rows.contains(row)).count();
                if more + missing > 0 {
                    self.differs(
                        "select",
                        format!("{more} rows that should not be seen, {missing} that should"),
                    );
                }
            }
        }
        Ok(())
    }

    /// A grant on one column is a grant, too.
    async fn columns(&mut self, columns: &[String]) -> Result<()> {
        let granted = self.cell("select").reach != Reach::Refused;
        let table = self.table.name.clone();
        for column in columns {
            let outcome = self.attempt(&format!("select {column} from {table} where false")).await?;
            if outcome.denied() == granted {
                let state = if granted { "is refused" } else { "is granted" };
                self.differs("select", format!("of {column} {state}"));
            }
        }
        Ok(())
    }

    async fn update(&mut self, columns: &[String], expected: usize) -> Result<()> {
        let cell = self.cell("update");
        let table = self.table.name.clone();
        for column in columns {
            let allowed = cell.reach != Reach::Refused && (cell.columns.is_empty() || cell.columns.contains(column));
            let granted = self
                .attempt(&format!("update {table} set {column} = default where false"))
                .await?;
            // Checks for a missing privilege, not for failure: writing generated columns fails for everybody.
            if granted.denied() == allowed {
                let state = if allowed { "is refused" } else { "is granted" };
                self.differs("update", format!("of {column} {state}"));
            }
            if !granted.denied() && allowed {
                let changed = self
                    .attempt(&format!(
                        "with changed as (update {table} set {column} = {column} returning 1) select count(*)::text from changed"
                    ))
                    .await?;
                if changed != Outcome::Rows(vec![expected.to_string()]) {
                    self.differs("update", format!("of {column}: {changed:?} rows, not {expected}"));
                }
            }
        }
        Ok(())
    }

    async fn delete(&mut self, expected: usize) -> Result<()> {
        let refused = self.cell("delete").reach == Reach::Refused;
        let table = self.table.name.clone();
        let granted = self.attempt(&format!("delete from {table} where false")).await?;
        if granted.denied() != refused {
            self.differs("delete", if refused { "is granted" } else { "is refused" });
        } else if !refused {
            let gone = self
                .attempt(&format!(
                    "with gone as (delete from {table} returning 1) select count(*)::text from gone"
                ))
                .await?;
            if gone != Outcome::Rows(vec![expected.to_string()]) {
                self.differs("delete", format!("{gone:?} rows, not {expected}"));
            }
        }
        Ok(())
    }

    async fn insert(&mut self) -> Result<()> {
        let refused = self.cell("insert").reach == Reach::Refused;
        let outcome = self
            .attempt(&format!("insert into {} default values", self.table.name))
            .await?;
        // Where inserting is granted, an empty row fails for other reasons.
        if outcome.denied() != refused {
            self.differs("insert", if refused { "is granted" } else { "is refused" });
        }
        Ok(())
    }

    /// The columns that an insert may set: checked as the host, because generated columns cannot be tried.
    async fn insertable(&mut self, columns: &[String]) -> Result<()> {
        let refused = self.cell("insert").reach == Reach::Refused;
        let (table, role) = (self.table.name.clone(), self.actor.role());
        for column in columns {
            let expected = !refused && self.table.insertable.contains(column);
            // The function takes a name as it is, not as a statement quotes it.
            let name = column.trim_matches('"');
            let asked = format!("select has_column_privilege('{role}', '{table}', '{name}', 'insert')::text");
            let granted = self.stage.rows(&asked).await? == ["true"];
            if granted != expected {
                let state = if granted { "is granted" } else { "is refused" };
                self.differs("insert", format!("of {column} {state}"));
            }
        }
        Ok(())
    }

    async fn truncate(&mut self) -> Result<()> {
        let outcome = self.attempt(&format!("truncate {} cascade", self.table.name)).await?;
        if !outcome.denied() {
            self.differs("truncate", "is granted");
        }
        Ok(())
    }
}
