//! The layers of the configuration: command line over environment over file over default.

use super::check::first_refused;
use super::keys::{is_key, is_section, nearest};
use super::sections::Config;
use crate::exit::Failure;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// The variable from which clients take their token, which is nothing that is configured.
pub const TOKEN_VARIABLE: &str = "LAPS_TOKEN";
/// Keys for which "set to nothing" is as likely a variable that was not filled in, and would open the relay.
const NEVER_EMPTY: [&str; 2] = ["auth.secret", "auth.secret_file"];
/// What every environment variable of ours begins with.
const ENV_PREFIX: &str = "LAPS_";

/// A value that the command line sets.
#[derive(Clone, Debug)]
pub struct Override {
    /// The key it goes over.
    pub key: &'static str,
    /// The flag, for messages.
    pub flag: &'static str,
    /// The value.
    pub value: config::Value,
}

/// Where values come from, beside the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables; those without `LAPS_` in front are not ours and are passed over.
    pub env: Vec<(OsString, OsString)>,
    /// What the command line sets.
    pub overrides: Vec<Override>,
}

/// Which layer gave a key its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This flag.
    Flag(&'static str),
    /// This environment variable.
    Env(String),
    /// This file.
    File(PathBuf),
    /// None of them.
    Default,
}

impl Layers {
    /// The file and the flags over the environment of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<Override>) -> Self {
        Self {
            file,
            env: std::env::vars_os().collect(),
            overrides,
        }
    }
}

/// Puts the layers on top of each other.
///
/// # Errors
/// When the file cannot be read or is not TOML, when it or the environment has a key that does not exist, or when a
/// value does not fit its key. The failure names the file, variable or flag.
pub fn load(layers: &Layers) -> Result<Config, Failure> {
    let mut builder = config::Config::builder();
    let mut file_keys = Vec::new();
    if let Some(path) = &layers.file {
        let text = read_file(path)?;
        file_keys = check_file(path, &text)?;
        builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
    }
    let variables = our_variables(&layers.env)?;
    let source = variables
        .iter()
        .map(|v| (v.name.clone(), v.value.clone()))
        .collect::<HashMap<_, _>>();
    builder = builder.add_source(
        config::Environment::with_prefix("LAPS")
            .prefix_separator("_")
            .separator("__")
            .source(Some(source)),
    );
    for over in &layers.overrides {
        builder = builder
            .set_override(over.key, over.value.clone())
            .map_err(|error| {
                Failure::usage(
                    over.flag,
                    error.to_string(),
                    "report this: the flag names a key that is none",
                )
            })?;
    }
    let origin = |key: &str| {
        if let Some(over) = layers.overrides.iter().find(|over| over.key == key) {
            Origin::Flag(over.flag)
        } else if let Some(variable) = variables.iter().find(|v| v.key == key) {
            Origin::Env(variable.name.clone())
        } else {
            let path = layers
                .file
                .as_ref()
                .filter(|_| file_keys.iter().any(|k| k == key));
            path.map_or(Origin::Default, |path| Origin::File(path.clone()))
        }
    };
    let merged = builder.build().and_then(config::Config::try_deserialize);
    let config: Config = merged.map_err(|error| unfit(&error, origin))?;
    match first_refused(&config) {
        None => Ok(config),
        Some(refused) => Err(at(
            &origin(refused.key),
            refused.key,
            &refused.reason,
            refused.remedy,
        )),
    }
}

/// A failure at a key: the command line's faults are usage, the others configuration.
fn at(origin: &Origin, key: &str, reason: &str, remedy: &str) -> Failure {
    match origin {
        Origin::Flag(flag) => Failure::usage(*flag, reason, remedy),
        Origin::Env(_) | Origin::File(_) => Failure::config(format!("{origin}: {key}"), reason, remedy),
        Origin::Default => Failure::config(key, reason, remedy),
    }
}

fn unfit(error: &config::ConfigError, origin: impl Fn(&str) -> Origin) -> Failure {
    let text = error.to_string();
    // The key stands last in the text of every error that has one.
    let (reason, key) = match text.split_once(" for key `") {
        Some((reason, rest)) => (reason, rest.split('`').next().unwrap_or_default()),
        None => (text.as_str(), ""),
    };
    let remedy = "see `laps config dump` for what each key takes";
    if key.is_empty() {
        Failure::config("configuration", reason, remedy)
    } else {
        at(&origin(key), key, reason, remedy)
    }
}

fn read_file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::config(
            path.display().to_string(),
            error.to_string(),
            "name a readable TOML file with --config",
        )
    })
}

/// The keys that the file sets, each known and of the right type.
fn check_file(path: &Path, text: &str) -> Result<Vec<String>, Failure> {
    let broken = |error: &toml::de::Error| {
        let line = error.span().map_or(0, |span| {
            1 + text.bytes().take(span.start).filter(|&b| b == b'\n').count()
        });
        let thing = format!("{} line {line}", path.display());
        if is_near_secret(text, line) {
            return Failure::config(
                thing,
                "not TOML, or not a text, at or after a secret",
                "correct that line",
            );
        }
        let written = text
            .lines()
            .nth(line.saturating_sub(1))
            .unwrap_or_default()
            .trim();
        Failure::config(
            thing,
            format!("{} in `{written}`", error.message()),
            "correct that line",
        )
    };
    let table: toml::Table = text.parse().map_err(|e| broken(&e))?;
    let mut keys = Vec::new();
    flatten("", &table, &mut keys);
    if let Some(unknown) = keys.iter().find(|key| !is_key(key)) {
        let thing = path.display().to_string();
        return Err(if is_section(unknown) {
            let reason = format!("`{unknown}` is a section, not a key");
            Failure::config(
                thing,
                reason,
                format!("write it as [{unknown}] with its keys below"),
            )
        } else {
            let reason = format!(
                "unknown key `{unknown}`; the nearest valid key is `{}`",
                nearest(unknown)
            );
            Failure::config(thing, reason, "correct or remove it")
        });
    }
    // The layers convert between text and numbers, as the environment needs; a file has types and must keep to them.
    toml::from_str::<Config>(text).map_err(|e| broken(&e))?;
    Ok(keys)
}

/// True when line number `line` may belong to the value of a secret, which may go on over any number of lines: nothing
/// of it is repeated then. [D14-AUTH-10]
fn is_near_secret(text: &str, line: usize) -> bool {
    let mut before = text.lines().take(line).map(str::trim_start);
    before.any(|line| !line.starts_with('#') && line.contains("secret"))
}

/// Names of all values, and of empty tables that are no sections.
fn flatten(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value.as_table() {
            Some(inner) if is_section(&key) || !inner.is_empty() => flatten(&key, inner, keys),
            Some(_) | None => keys.push(key),
        }
    }
}

struct Variable {
    name: String,
    value: String,
    key: String,
}

/// Our variables, each naming a key.
fn our_variables(env: &[(OsString, OsString)]) -> Result<Vec<Variable>, Failure> {
    let mut found = Vec::new();
    for (name, value) in env {
        let name = name.to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(ENV_PREFIX).filter(|_| !is_no_key(&name)) else {
            continue;
        };
        let key = rest.to_ascii_lowercase().replacen("__", ".", 1);
        if !is_key(&key) || rest.chars().any(|c| c.is_ascii_lowercase()) {
            let meant = nearest(&key).replacen('.', "__", 1).to_ascii_uppercase();
            let reason = format!("unknown variable; the nearest valid one is `{ENV_PREFIX}{meant}`");
            return Err(Failure::config(name, reason, "correct or unset it"));
        }
        let Some(value) = value.to_str() else {
            return Err(Failure::config(
                name,
                "its value is not UTF-8",
                "correct or unset it",
            ));
        };
        if value.is_empty() && NEVER_EMPTY.contains(&key.as_str()) {
            let remedy = "unset it, or set it to what it is to be";
            return Err(Failure::config(name, "is set to nothing", remedy));
        }
        found.push(Variable {
            name,
            value: value.to_owned(),
            key,
        });
    }
    Ok(found)
}

/// Whether this variable of ours is none of the configuration.
fn is_no_key(name: &str) -> bool {
    // The test hook's is known where there is one, and nowhere else.
    #[cfg(feature = "chaos")]
    if name == crate::chaos::VARIABLE {
        return true;
    }
    name == TOKEN_VARIABLE
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Env(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}
