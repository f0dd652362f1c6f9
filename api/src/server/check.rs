//! `duet-api check`.

use duet_supabase::check::{self, Finding, Verdict};
use serde_json::json;

use super::{Global, database, deployment, project, settings};
use crate::{
    command::{
        exit::{Exit, Failure, Outcome},
        output::Output,
    },
    config::Backend,
};

pub async fn run(global: &Global, output: Output) -> Outcome {
    let config = settings(global, Vec::new())?;
    let databases = database::of_settings(&config.database)?;
    let mut findings = check::inspect(&databases.ordinary, &databases.direct)
        .await
        .map_err(database::connecting)?;
    if config.database.backend == Backend::Supabase {
        let project = project::settings(&config.supabase, deployment::http()?)?;
        let more = check::inspect_project(&project, &databases.ordinary).await;
        findings.extend(more.map_err(database::connecting)?);
    }
    let problems = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
    if output.json {
        output.value(&json!({"healthy": problems == 0, "checks": findings}))?;
    } else {
        print(output, &findings)?;
    }
    match problems {
        0 => Ok(()),
        _ => Err(Failure::Silent(Exit::Failed)),
    }
}

fn print(output: Output, findings: &[Finding]) -> Outcome {
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => "ok      ",
            Verdict::Warning => "warning ",
            Verdict::Problem => "PROBLEM ",
        };
        output.line(&format!("{mark} {:<13} {}", finding.name, finding.found))?;
        if let Some(fix) = &finding.fix {
            output.line(&format!("{:<23}{fix}", ""))?;
        }
    }
    Ok(())
}
