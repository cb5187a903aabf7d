//! `laps cert ca`: the CA of a mesh, and the certificates of its nodes.

use super::cert::{create, remove, unwritable};
use super::print;
use crate::cli::CaOptions;
use crate::exit::Failure;
use crate::node_id::{NodeId, of_endpoint};
use laps_actors::transport::{NodeCert, PeerCa, Pem, TlsError};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files of the CA.
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";

/// Runs `laps cert ca`.
///
/// # Errors
/// When an id is malformed or named twice, when a file of a node exists already and `--force` was not given, when only
/// one half of the CA is there or it is none of ours, or when a file cannot be read or written. Nothing is written before
/// all that can be known is known.
pub fn run(options: &CaOptions) -> Result<(), Failure> {
    let nodes = nodes(&options.node)?;
    let (cert, key) = (options.out.join(CA), options.out.join(CA_KEY));
    let ca = existing(&cert, &key, PeerCa::load)?;
    if ca.is_some() && nodes.is_empty() {
        return Err(Failure::usage(
            "--node",
            "not given, and the CA is there",
            "name a node",
        ));
    }
    if !options.force {
        for path in nodes.iter().flat_map(|node| node_files(&options.out, *node)) {
            refuse_existing(&path)?;
        }
    }
    let ca = match ca {
        Some(ca) => ca,
        None => {
            let ca = PeerCa::generate().map_err(|error| impossible(&error))?;
            fs::create_dir_all(&options.out).map_err(|e| unwritable(&options.out, &e))?;
            write_pair(&cert, ca.cert_pem(), &key, &ca.key_pem(), false)?;
            ca
        }
    };
    let mut made = vec![("CA".to_owned(), cert, key)];
    for node in nodes {
        let NodeCert {
            cert_pem, key_pem, ..
        } = ca.certify(node).map_err(|error| impossible(&error))?;
        let [cert, key] = node_files(&options.out, node);
        write_pair(&cert, &cert_pem, &key, &key_pem, options.force)?;
        made.push((format!("node {node}"), cert, key));
    }
    print(&table(&made))
}

/// The nodes that are meant, each once.
fn nodes(texts: &[String]) -> Result<Vec<NodeId>, Failure> {
    let mut nodes = Vec::new();
    for text in texts {
        let node = of_endpoint(text).map_err(|error| {
            Failure::usage("--node", error.to_string(), "write an id such as 1:2 or 1.2:1234")
        })?;
        if nodes.contains(&node) {
            let reason = format!("node {node} is named twice");
            return Err(Failure::usage("--node", reason, "name each node once"));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// The CA that is there, if any is.
pub(super) fn existing<Ca>(
    cert: &Path,
    key: &Path,
    load: impl FnOnce(&Pem, &Pem) -> Result<Ca, TlsError>,
) -> Result<Option<Ca>, Failure> {
    let missing = match (cert.exists(), key.exists()) {
        (false, false) => return Ok(None),
        (true, true) => {
            let pair = (Pem::File(cert.to_owned()), Pem::File(key.to_owned()));
            let remedy = "choose another directory for a CA of its own";
            return load(&pair.0, &pair.1)
                .map(Some)
                .map_err(|error| Failure::run(cert.display().to_string(), error.to_string(), remedy));
        }
        (true, false) => key,
        (false, true) => cert,
    };
    let remedy = "bring it here to sign more, or choose another directory for another CA";
    let reason = "missing, and the other half of the CA is there";
    Err(Failure::run(missing.display().to_string(), reason, remedy))
}

/// Certificate and key of a node. A colon would be taken for a separator by containers and search paths.
fn node_files(out: &Path, node: NodeId) -> [PathBuf; 2] {
    let name = node.to_string().replace(':', "-");
    [
        out.join(format!("node-{name}.pem")),
        out.join(format!("node-{name}-key.pem")),
    ]
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        let remedy = "add --force to replace it, or choose another --out";
        return Err(Failure::run(path.display().to_string(), "exists already", remedy));
    }
    Ok(())
}

/// Both are claimed before either is written, so that a certificate never ends up beside a key of another.
pub(super) fn write_pair(
    cert: &Path,
    cert_pem: &str,
    key: &Path,
    key_pem: &str,
    replace: bool,
) -> Result<(), Failure> {
    if replace {
        remove(cert)?;
        remove(key)?;
    }
    let mut key_file = create(key, 0o600)?;
    let mut cert_file = create(cert, 0o644).inspect_err(|_| drop(fs::remove_file(key)))?;
    key_file
        .write_all(key_pem.as_bytes())
        .map_err(|e| unwritable(key, &e))?;
    cert_file
        .write_all(cert_pem.as_bytes())
        .map_err(|e| unwritable(cert, &e))
}

/// What is where: of the CA and of each node, certificate and key.
fn table(made: &[(String, PathBuf, PathBuf)]) -> String {
    let width = made.iter().map(|(what, ..)| what.len()).max().unwrap_or_default();
    let line = |(what, cert, key): &(String, PathBuf, PathBuf)| {
        format!("{what:<width$}  {}  {}\n", cert.display(), key.display())
    };
    made.iter().map(line).collect()
}

fn impossible(error: &TlsError) -> Failure {
    Failure::run("certificate", error.to_string(), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use laps_actors::transport::PeerTls;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    /// A directory of its own that is gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("laps-cert-ca-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&path));
            Self(path)
        }

        fn run(&self, words: &[&str]) -> Result<(), Failure> {
            let out = self.0.display().to_string();
            run(&options(&[&["--out", &out], words].concat()).unwrap())
        }

        fn contents(&self) -> BTreeMap<String, Vec<u8>> {
            let entries = fs::read_dir(&self.0).into_iter().flatten().map(Result::unwrap);
            let read = |entry: fs::DirEntry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            };
            entries.map(read).collect()
        }

        fn pem(&self, name: &str) -> Pem {
            Pem::File(self.0.join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_relay_takes_what_is_made() {
        let dir = Scratch::new("made");
        dir.run(&["--node", "1:1", "--node", "1.2:1234", "--node", "paris"])
            .unwrap();
        for (text, name) in [("1:1", "node-1-1"), ("1.2:1234", "node-1.2-1234")] {
            let (cert, key) = (
                dir.pem(&format!("{name}.pem")),
                dir.pem(&format!("{name}-key.pem")),
            );
            let tls = PeerTls::mutual(&dir.pem(CA), &cert, &key, of_endpoint(text).unwrap());
            assert!(tls.unwrap().is_mutual());
        }
        assert_eq!(dir.contents().len(), 8, "a free text is a node too");
        for (name, mode) in [(CA_KEY, 0o600), ("node-1-1-key.pem", 0o600), (CA, 0o644)] {
            let rights = fs::metadata(dir.0.join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(rights & 0o077 & !mode, 0, "{name}: {rights:o}");
            assert_eq!(rights & 0o600, 0o600, "{name}: {rights:o}");
        }
    }

    #[test]
    fn nodes_are_added_and_renewed_and_the_authority_stays() {
        let dir = Scratch::new("added");
        dir.run(&["--node", "1:1"]).unwrap();
        let first = dir.contents();
        dir.run(&["--node", "1:2"]).unwrap();
        let second = dir.contents();
        assert!(first.iter().all(|(name, text)| second.get(name) == Some(text)));
        assert!(second.contains_key("node-1-2.pem"));

        let failure = dir
            .run(&["--node", "1:3", "--node", "1:1"])
            .unwrap_err()
            .to_string();
        assert!(
            failure.contains("node-1-1.pem: exists already; add --force"),
            "{failure}"
        );
        assert_eq!(dir.contents(), second, "nothing is written");

        dir.run(&["--node", "1:1", "--force"]).unwrap();
        let third = dir.contents();
        for name in [CA, CA_KEY, "node-1-2.pem", "node-1-2-key.pem"] {
            assert_eq!(third.get(name), second.get(name), "{name}");
        }
        for name in ["node-1-1.pem", "node-1-1-key.pem"] {
            assert_ne!(third.get(name), second.get(name), "{name}");
        }
        let (cert, key) = (dir.pem("node-1-1.pem"), dir.pem("node-1-1-key.pem"));
        PeerTls::mutual(&dir.pem(CA), &cert, &key, of_endpoint("1:1").unwrap()).unwrap();
    }

    #[test]
    fn an_authority_alone_can_be_made_once() {
        let dir = Scratch::new("alone");
        dir.run(&[]).unwrap();
        let made = dir.contents();
        assert_eq!(made.keys().collect::<Vec<_>>(), [CA_KEY, CA]);
        for words in [&[][..], &["--force"]] {
            let failure = dir.run(words).unwrap_err().to_string();
            assert!(failure.contains("--node: not given"), "{failure}");
        }
        assert_eq!(dir.contents(), made);
    }

    #[test]
    fn half_an_authority_and_a_foreign_one_are_refused() {
        let dir = Scratch::new("half");
        dir.run(&["--node", "1:1"]).unwrap();
        fs::rename(dir.0.join(CA_KEY), dir.0.join("away")).unwrap();
        let failure = dir.run(&["--node", "1:2"]).unwrap_err().to_string();
        assert!(failure.contains("ca-key.pem: missing"), "{failure}");
        fs::copy(dir.0.join("node-1-1-key.pem"), dir.0.join(CA_KEY)).unwrap();
        let failure = dir.run(&["--node", "1:2"]).unwrap_err().to_string();
        assert!(failure.contains("no pair that `laps cert ca` made"), "{failure}");
        assert!(!dir.contents().contains_key("node-1-2.pem"));
    }

    #[test]
    fn ids_that_are_none_write_nothing() {
        let dir = Scratch::new("ids");
        for (words, why) in [
            (&["--node", "1:x"][..], "`1:x` is not a node id"),
            (&["--node", "1:2", "--node", "0.1:2"], "node 1:2 is named twice"),
        ] {
            let failure = dir.run(words).unwrap_err();
            assert_eq!(failure.exit(), crate::exit::Exit::Usage);
            assert!(failure.to_string().contains(why), "{failure}");
        }
        assert!(!dir.0.exists());
    }
}
