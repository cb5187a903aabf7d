//! The configuration as a file with comments, such that loading it gives the same configuration.

use super::keys;
use super::sections::Config;

/// The configuration as TOML, each key under its explanation.
#[must_use]
pub fn dump(config: &Config) -> String {
    let mut out = String::from(
        "# Configuration of a laps relay. Every key can also be set by an environment variable:\n",
    );
    out.push_str("# LAPS_ + section + __ + key in capitals, such as LAPS_RELAY__PORT; flags go over both.\n");
    out.push_str("# The last word above a key says when a new value takes effect: static is at the next start of the relay.\n");
    let values = toml::Table::try_from(config).unwrap_or_default();
    let mut section = "";
    for key in keys::all() {
        let Some((key_section, name)) = key.name.split_once('.') else {
            continue;
        };
        let value = values.get(key_section).and_then(|table| table.get(name));
        let Some(value) = value else { continue };
        let head = if key_section == section {
            String::new()
        } else {
            format!("\n[{key_section}]\n")
        };
        section = key_section;
        let docs: String = key.doc.iter().map(|line| format!("# {line}\n")).collect();
        let class = key.class.name();
        out.push_str(&format!("{head}{docs}# {class}\n{name} = {value}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::keys::Class;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_is_explained_and_every_explanation_has_a_key() {
        let values = toml::Table::try_from(Config::default()).unwrap();
        let fields: BTreeSet<String> = values
            .iter()
            .flat_map(|(section, table)| {
                table
                    .as_table()
                    .unwrap()
                    .keys()
                    .map(move |name| format!("{section}.{name}"))
            })
            .collect();
        let keys: BTreeSet<String> = keys::all().map(|key| key.name.to_owned()).collect();
        assert_eq!(fields, keys);
    }

    /// As many classes as keys, each right above its key and below what explains it.
    #[test]
    fn every_key_says_when_it_takes_effect() {
        let dump = dump(&Config::default());
        let lines: Vec<&str> = dump.lines().collect();
        for key in keys::all() {
            let doc = format!("# {}", key.doc.last().unwrap());
            let (_, name) = key.name.split_once('.').unwrap();
            let found = lines.windows(3).any(|lines| {
                lines[0] == doc
                    && lines[1] == format!("# {}", key.class.name())
                    && lines[2].starts_with(&format!("{name} = "))
            });
            assert!(found, "{}", key.name);
        }
        let classes = [
            Class::Static,
            Class::NewConnection,
            Class::NewSubscription,
            Class::Immediate,
        ];
        let is_class = |line: &&&str| {
            classes
                .iter()
                .any(|class| **line == format!("# {}", class.name()))
        };
        assert_eq!(lines.iter().filter(is_class).count(), keys::all().count());
    }

    #[test]
    fn a_dump_loads_back_identically() {
        let mut config = Config::default();
        assert_eq!(toml::from_str::<Config>(&dump(&config)).unwrap(), config);
        config.relay.endpoint_id = "a \"quoted\"\n# name = [x]".into();
        config.relay.bind = "127.0.0.1".parse().unwrap();
        config.subscribe.detached = true;
        config.tls.cert = r"C:\a'b".into();
        config.tls.key = "ä".into();
        config.workers.threads = 7;
        config.subscribe.newest_group = "live/a%2fb,\"".parse().unwrap();
        config.logging.level = super::super::LogLevel::Trace;
        assert_eq!(toml::from_str::<Config>(&dump(&config)).unwrap(), config);
    }
}
