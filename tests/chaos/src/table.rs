//! The table of faults in `actors/README.md`, between two lines that mark it.

use crate::Failure;
use crate::faults::{self, Met};
use crate::judge;
use crate::run::{Cost, End, Ran};
use std::collections::BTreeSet;
use std::path::Path;

const BEGIN: &str = "<!-- faults: written by scripts/chaos --write-table -->";
const END: &str = "<!-- end of faults -->";

/// Puts what these runs cost into the file.
pub(crate) fn write(file: &Path, heading: &str, ran: &[Ran]) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)?;
    let (before, _, after) = parts(&text)?;
    let mut rows = String::new();
    for fault in faults::all() {
        let costs: Vec<&Cost> = ran
            .iter()
            .filter(|ran| ran.fault.name == fault.name)
            .filter_map(|ran| match &ran.end {
                End::Passed(cost) => Some(cost),
                End::Failed(_) | End::Skipped(_) => None,
            })
            .collect();
        if costs.is_empty() {
            return Err(format!("{} did not pass once", fault.name).into());
        }
        rows.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            fault.name,
            fault.what,
            lost(&costs),
            recovered(&costs),
            costs.len()
        ));
    }
    let table = format!(
        "\n{heading}\n\n| fault | what happens | what was lost | time to recover | runs |\n|---|---|---|---|---|\n{rows}\n"
    );
    Ok(std::fs::write(
        file,
        format!("{before}{BEGIN}{table}{END}{after}"),
    )?)
}

/// Whether the table of the file has exactly the faults that there are.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)?;
    let (_, table, _) = parts(&text)?;
    let listed: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|name| *name != "fault")
        .collect();
    let all = faults::all();
    let there: BTreeSet<&str> = all.iter().map(|fault| fault.name).collect();
    let differ: Vec<&&str> = listed.symmetric_difference(&there).collect();
    if differ.is_empty() && there.len() == all.len() {
        return Ok(());
    }
    Err(format!(
        "{}: its table and the list of faults differ in {differ:?}",
        file.display()
    )
    .into())
}

fn parts(text: &str) -> Result<(&str, &str, &str), Failure> {
    let found = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(table, after)| (before, table, after)));
    Ok(found.ok_or("the lines that mark the table are missing")?)
}

/// The middle and the largest.
fn figures(mut all: Vec<u64>) -> (u64, u64) {
    all.sort_unstable();
    let middle = all.get(all.len() / 2).copied().unwrap_or(0);
    (middle, all.last().copied().unwrap_or(0))
}

fn lost(costs: &[&Cost]) -> String {
    if let Some(text) = costs.iter().find_map(|cost| cost.other.clone()) {
        return text;
    }
    let who = match costs.first().map(|cost| cost.met) {
        Some(Met::Nobody) | None => "nobody",
        Some(Met::One(_)) => "that subscriber",
        Some(Met::Several(_)) => "the subscribers of that shard",
        Some(Met::Any) => "one subscriber",
        Some(Met::Ended(_)) => return "that subscriber".to_owned(),
        Some(Met::Track) => "every subscriber of the track",
        Some(Met::Everybody) => "everybody",
    };
    let (middle, most) = figures(costs.iter().map(|cost| cost.lost).collect());
    if most == 0 {
        return "nothing".to_owned();
    }
    format!("{who}: {middle} objects, at most {most}")
}

fn recovered(costs: &[&Cost]) -> String {
    let (middle, most) = figures(costs.iter().map(|cost| cost.recovered_ms).collect());
    if most == 0
        && costs
            .iter()
            .all(|cost| matches!(cost.met, Met::Nobody | Met::Ended(_)))
    {
        return "no interruption".to_owned();
    }
    let seconds = |ms: u64| match ms {
        0 => format!("less than {}", judge::UNNOTICED),
        ms => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
    };
    if most == 0 {
        return seconds(0);
    }
    format!("{}, at most {}", seconds(middle), seconds(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(lost: u64, recovered_ms: u64) -> Cost {
        Cost {
            met: Met::Track,
            lost,
            recovered_ms,
            other: None,
        }
    }

    #[test]
    fn figures_become_words() {
        let (one, two, three) = (cost(0, 0), cost(3, 1234), cost(5, 20));
        assert_eq!(lost(&[&one]), "nothing");
        assert_eq!(recovered(&[&one]), "less than 0.25 s");
        let spared = Cost {
            met: Met::Nobody,
            ..cost(0, 0)
        };
        assert_eq!(recovered(&[&spared]), "no interruption");
        assert_eq!(recovered(&[&one, &one, &two]), "less than 0.25 s, at most 1.23 s");
        assert_eq!(
            lost(&[&three, &one, &two]),
            "every subscriber of the track: 3 objects, at most 5"
        );
        assert_eq!(recovered(&[&three, &one, &two]), "0.02 s, at most 1.23 s");
    }

    #[test]
    fn names_are_unique_and_in_the_table_of_the_readme() {
        let names: BTreeSet<_> = faults::all().iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), faults::all().len());
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../actors/README.md");
        check(Path::new(readme)).unwrap();
        // The check can fail.
        let text = std::fs::read_to_string(readme)
            .unwrap()
            .replace("| panic-track |", "| panic-trick |");
        let other = std::env::temp_dir().join(format!("laps-chaos-table-{}", std::process::id()));
        std::fs::write(&other, text).unwrap();
        let wrong = check(&other);
        std::fs::remove_file(other).unwrap();
        assert!(wrong.unwrap_err().to_string().contains("panic-trick"));
    }
}
