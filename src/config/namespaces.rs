//! A list of namespaces: an array of texts in a file, one text with commas in the environment.

use crate::names::{NameTextError, parse_namespace};
use laps_protocol::moqt::name::TrackNamespace;
use serde::{Deserialize, Serialize};

/// Namespaces in the form of [`crate::names`], each of which stands for all below it as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Vec<String>")]
pub struct Namespaces(Vec<TrackNamespace>);

/// What stands in a file or a variable.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "neither a list of namespaces nor one text with commas between them"
)]
enum Text {
    One(String),
    Many(Vec<String>),
}

impl Namespaces {
    /// The namespaces.
    #[must_use]
    pub fn list(&self) -> &[TrackNamespace] {
        &self.0
    }

    fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let read = |text| parse_namespace(text).map_err(|error: NameTextError| format!("`{text}`: {error}"));
        texts.map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl std::str::FromStr for Namespaces {
    type Err = String;

    /// Reads namespaces with commas between them; a comma within one is `%2c`. No text is no namespace.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text.split(',').map(str::trim).filter(|text| !text.is_empty()))
    }
}

impl TryFrom<Text> for Namespaces {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        match text {
            Text::One(text) => text.parse(),
            Text::Many(texts) => Self::parse(texts.iter().map(String::as_str)),
        }
    }
}

impl From<Namespaces> for Vec<String> {
    fn from(namespaces: Namespaces) -> Self {
        namespaces.0.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Table {
        list: Namespaces,
    }

    fn read(text: &str) -> Result<Namespaces, String> {
        let table: Result<Table, _> = toml::from_str(text);
        table
            .map(|table| table.list)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn lists_and_texts_are_read() {
        let two = read("list = ['live/cam', 'a,b/c%2fd']").unwrap();
        assert_eq!(two.list().len(), 2);
        assert_eq!("live/cam, a%2cb/c%2fd".parse(), Ok(two.clone()));
        assert_eq!(read("list = 'live/cam,a%2cb/c%2fd'"), Ok(two.clone()));
        assert_eq!(read("list = []"), Ok(Namespaces::default()));
        assert_eq!(read("list = ''"), Ok(Namespaces::default()));
        let table = Table { list: two };
        assert_eq!(toml::from_str(&toml::to_string(&table).unwrap()), Ok(table));
    }

    #[test]
    fn what_is_no_namespace_is_named() {
        assert_eq!(
            read("list = ['a', 'b%zz']").unwrap_err(),
            "`b%zz`: `%` at byte 1 is not followed by two hexadecimal digits; write %25 for the sign itself"
        );
        assert!(
            read("list = ['']")
                .unwrap_err()
                .contains("the namespace is empty")
        );
        assert!(read("list = 7").unwrap_err().contains("neither a list"));
    }
}
