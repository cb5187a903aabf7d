//! The configuration as a file with comments, such that loading it gives the same configuration.

use super::keys::KEYS;
use super::sections::Config;

/// The configuration as TOML, each key under its explanation.
#[must_use]
pub fn dump(config: &Config) -> String {
    let mut out = String::from(
        "# Configuration of a laps relay. Every key can also be set by an environment variable:\n",
    );
    out.push_str("# LAPS_ + section + __ + key in capitals, such as LAPS_RELAY__PORT; flags go over both.\n");
    let values = toml::Table::try_from(config).unwrap_or_default();
    let mut section = "";
    for key in KEYS {
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
        out.push_str(&format!("{head}{docs}{name} = {value}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
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
        let keys: BTreeSet<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        assert_eq!(fields, keys);
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
