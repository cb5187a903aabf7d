//! A list of things that are written as text: an array in a file, one text with commas in the environment and in flags.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The list. What each of it is says its type; none of them has a comma in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

/// Addresses, written with the length of their common prefix, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromStr<Err: fmt::Display>> List<T> {
    fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let read = |text: &str| text.parse().map_err(|error: T::Err| error.to_string());
        texts.map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for List<T> {
    type Err = String;

    /// Reads them with commas between them. No text is none.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text.split(',').map(str::trim).filter(|text| !text.is_empty()))
    }
}

/// What stands in a file or a variable.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "neither a list of texts nor one text with commas between them"
)]
enum Text {
    One(String),
    Many(Vec<String>),
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Text::deserialize(deserializer)? {
            Text::One(text) => text.parse(),
            Text::Many(texts) => Self::parse(texts.iter().map(String::as_str)),
        };
        read.map_err(serde::de::Error::custom)
    }
}

impl<T: fmt::Display> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        one.or_else(|_| text.parse())
            .map(Self)
            .map_err(|_| format!("`{text}` is neither an address nor a network such as 192.0.2.0/24"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Table {
        list: List<Network>,
    }

    fn read(text: &str) -> Result<List<Network>, String> {
        let table: Result<Table, _> = toml::from_str(text);
        table
            .map(|table| table.list)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn lists_and_texts_are_read() {
        let two = read("list = ['192.0.2.7', '2001:db8::/32']").unwrap();
        assert_eq!(two.0.len(), 2);
        assert_eq!("192.0.2.7/32, 2001:db8::/32".parse(), Ok(two.clone()));
        assert_eq!(read("list = '192.0.2.7,2001:db8::/32'"), Ok(two.clone()));
        assert_eq!(read("list = []"), Ok(List::default()));
        assert_eq!(read("list = ''"), Ok(List::default()));
        let table = Table { list: two };
        assert_eq!(toml::from_str(&toml::to_string(&table).unwrap()), Ok(table));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = read("list = ['192.0.2.0/33']").unwrap_err();
        assert!(error.contains("`192.0.2.0/33` is neither"), "{error}");
        assert!(read("list = 7").unwrap_err().contains("neither a list"));
    }
}
