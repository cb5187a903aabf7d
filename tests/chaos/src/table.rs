//! The table of faults in `actors/README.md`, between two lines that mark it.

use crate::Failure;
use crate::faults::{self, Met};
use crate::judge;
use crate::run::{Cost, End, Ran};
use std::collections::BTreeSet;
use std::path::Path;

const BEGIN: &str = "<!-- faults: written by scripts/chaos --write-table -->";
const END: &str = "<!-- end of faults -->";

/// Puts what these runs cost into the file; rows of other faults stay as they are, with the heading that they have.
pub(crate) fn write(file: &Path, heading: &str, ran: &[Ran]) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)?;
    let (before, old, after) = parts(&text)?;
    let mut rows = String::new();
    let mut fresh = BTreeSet::new();
    for fault in faults::all() {
        if !ran.iter().any(|ran| ran.fault.name == fault.name)
            && let Some(row) = old.lines().find(|row| named(row) == Some(fault.name))
        {
            rows.push_str(&format!("{row}\n"));
            continue;
        }
        fresh.insert(fault.name);
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
    let headings = headings(old, heading, &fresh);
    let table = format!(
        "\n{headings}\n| fault | what happens | what was lost | time to recover | runs |\n|---|---|---|---|---|\n{rows}\n"
    );
    Ok(std::fs::write(
        file,
        format!("{before}{BEGIN}{table}{END}{after}"),
    )?)
}

/// Which fault a line of the table is about.
fn named(row: &str) -> Option<&str> {
    row.strip_prefix("| ")?.split(" |").next()
}

/// The lines above the table: one for all rows, and one for those that were measured at another time, by name.
fn headings(old: &str, heading: &str, fresh: &BTreeSet<&str>) -> String {
    if fresh.len() == faults::all().len() {
        return format!("{heading}\n");
    }
    let mut lines = String::new();
    for line in old.lines().take_while(|line| !line.starts_with('|')) {
        let Some((names, when)) = line.split_once("`: ") else {
            // Of all that no other line names.
            lines.extend((!line.is_empty()).then(|| format!("{line}\n")));
            continue;
        };
        let names: Vec<&str> = names
            .split('`')
            .filter(|name| !name.trim_matches([',', ' ']).is_empty())
            .collect();
        let stay: Vec<&str> = names.into_iter().filter(|name| !fresh.contains(name)).collect();
        if !stay.is_empty() {
            lines.push_str(&format!("\n{}: {when}\n", listed(&stay)));
        }
    }
    let fresh: Vec<&str> = fresh.iter().copied().collect();
    lines.push_str(&format!("\n{}: {heading}\n", listed(&fresh)));
    lines
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Whether the table of the file has exactly the faults that there are.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)?;
    let (_, table, _) = parts(&text)?;
    let listed: BTreeSet<&str> = table
        .lines()
        .filter_map(named)
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
    fn rows_that_were_not_run_stay() {
        let (track, fetch) = ("panic-track", "panic-fetch");
        let all = "\nMeasured once.\n\n| fault |\n";
        let one = headings(all, "Measured twice.", &BTreeSet::from([track, fetch]));
        assert_eq!(
            one,
            "Measured once.\n\n`panic-fetch`, `panic-track`: Measured twice.\n"
        );
        let two = headings(
            &format!("\n{one}\n|"),
            "Measured again.",
            &BTreeSet::from([track]),
        );
        assert_eq!(
            two,
            "Measured once.\n\n`panic-fetch`: Measured twice.\n\n`panic-track`: Measured again.\n"
        );
        let three = headings(
            &format!("\n{two}\n|"),
            "At last.",
            &BTreeSet::from([track, fetch]),
        );
        assert_eq!(
            three,
            "Measured once.\n\n`panic-fetch`, `panic-track`: At last.\n"
        );
        let names = faults::all().iter().map(|fault| fault.name).collect();
        assert_eq!(headings(&two, "All.", &names), "All.\n");
    }

    #[test]
    fn only_rows_that_ran_are_written() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../actors/README.md");
        let text = std::fs::read_to_string(readme).unwrap();
        let file = std::env::temp_dir().join(format!("laps-chaos-rows-{}", std::process::id()));
        std::fs::write(&file, &text).unwrap();
        let fault = *faults::all()
            .iter()
            .find(|fault| fault.name == "panic-track")
            .unwrap();
        let end = End::Passed(cost(1, 2));
        write(&file, "Measured now.", &[Ran { fault, seed: 1, end }]).unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let differ = |one: &str, other: &str| {
            let other: BTreeSet<&str> = other.lines().collect();
            let lines = one.lines().filter(|line| !other.contains(line));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert!(
            differ(&text, &written)
                .iter()
                .all(|line| named(line) == Some("panic-track") || line.contains("`panic-track`"))
        );
        let fresh = differ(&written, &text);
        assert!(
            fresh
                .iter()
                .any(|line| line.ends_with("1 objects, at most 1 | 0.00 s, at most 0.00 s | 1 |")),
            "{fresh:?}"
        );
        assert!(
            fresh
                .iter()
                .any(|line| line.ends_with("`panic-track`: Measured now.")),
            "{fresh:?}"
        );
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
