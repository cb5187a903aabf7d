//! Who a relay is among its peers, as its certificate says: a small CA, and the node id in what it signs.
//!
//! The name is a URI, `laps:node:1.2:1234`, in the one text that a node id is shown in. No DNS name and no address plays
//! a part: a relay is known by its node id, wherever it is reached, and several may stand behind one name. A certificate
//! of a web server, from whatever authority, names no node.

use std::time::{Duration, SystemTime};

use laps_protocol::peering::node::NodeId;
use rcgen::{
    CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, KeyUsagePurpose, NameConstraints,
    SanType,
};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::{
    authority::{self, Authority, Kind, failed},
    cert::{BACKDATED, DAY},
    error::TlsError,
    peer_tls::Members,
    tls::Pem,
};

const MESH: Kind = Kind {
    name: "laps mesh",
    restrict: names_no_host,
};

/// What stands before the node id in the name of a certificate.
const NODE_NAME: &str = "laps:node:";

/// How long a node's certificate is valid. Nothing here revokes one, so this is how long a stolen key lets its thief in;
/// somebody has to renew it by hand, so less than a year would be more outages than thefts.
const NODE_VALIDITY: Duration = Duration::from_secs(365 * DAY);

/// A certificate authority of one mesh: it signs certificates of nodes and nothing else. Its key is needed only to add and
/// renew nodes, and can be kept away from them all.
pub struct PeerCa(Authority);

/// The certificate of one node, with its key.
#[derive(Clone)]
pub struct NodeCert {
    /// The node that it names.
    pub node: NodeId,
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PEM (PKCS #8). Secret.
    pub key_pem: String,
}

impl PeerCa {
    /// Makes an authority with a new key, valid for ten years. ECDSA P-256.
    ///
    /// # Errors
    /// [`TlsError::Generate`] when the system has no random numbers.
    pub fn generate() -> Result<Self, TlsError> {
        Authority::generate(&MESH).map(Self)
    }

    /// An authority that [`generate`](Self::generate) made, to sign more with it.
    ///
    /// # Errors
    /// [`TlsError`] when one of the two cannot be read, the key is of another certificate, or the authority is none of
    /// ours: what it signs would not be believed.
    pub fn load(cert: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let ca = Self(Authority::load(&MESH, cert, key)?);
        let members = Members::of(&Pem::Text(ca.cert_pem().to_owned()))?;
        let probe = Pem::Text(ca.certify(NodeId(0))?.cert_pem);
        members.check(&probe, SystemTime::now()).map_err(|_| {
            let detail = "they are no pair that `laps cert ca` made";
            authority::unusable(cert, key, detail.to_owned())
        })?;
        Ok(ca)
    }

    /// Makes a key and a certificate for a node, valid for a year from now.
    ///
    /// # Errors
    /// [`TlsError::Generate`] when the system has no random numbers.
    pub fn certify(&self, node: NodeId) -> Result<NodeCert, TlsError> {
        let now = SystemTime::now();
        self.certify_for(node, now - BACKDATED, now + NODE_VALIDITY)
    }

    /// The same for a life of choice.
    ///
    /// # Errors
    /// [`TlsError::Generate`] when the system has no random numbers.
    pub fn certify_for(
        &self,
        node: NodeId,
        from: SystemTime,
        until: SystemTime,
    ) -> Result<NodeCert, TlsError> {
        let mut params = node_params(node)?;
        params.not_before = from.into();
        params.not_after = until.into();
        self.sign(node, &params)
    }

    /// What the authority signs for some other purpose.
    #[cfg(test)]
    pub(super) fn certify_nameless(&self) -> Result<NodeCert, TlsError> {
        let mut params = node_params(NodeId(0))?;
        params.subject_alt_names.clear();
        self.sign(NodeId(0), &params)
    }

    fn sign(&self, node: NodeId, params: &CertificateParams) -> Result<NodeCert, TlsError> {
        let (cert, key) = self.0.sign(&node_name(node), params)?;
        Ok(NodeCert {
            node,
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The certificate, PEM: what every node of the mesh has as `peering.ca`.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        self.0.cert_pem()
    }

    /// The private key, PEM (PKCS #8). Whoever has it can let anybody into the mesh.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.0.key_pem()
    }
}

impl std::fmt::Debug for PeerCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerCa").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NodeCert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeCert")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Why a certificate names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeNameError {
    /// It is no certificate at all.
    #[error("it cannot be read")]
    Damaged,
    /// None of its names is that of a node.
    #[error("it names no node; its name must be like URI:laps:node:1.2:1234")]
    None,
    /// It has several such names, and a relay is one node.
    #[error("it names more than one node")]
    Several,
    /// The name is not the text that a node id is shown in, such as `001:2` in place of `1:2`.
    #[error("it names a node in a way that is not exactly that of node ids, such as laps:node:1.2:1234")]
    Form,
}

/// The node that a certificate names. Whether anybody we trust has signed it is another question.
///
/// # Errors
/// [`NodeNameError`] says what is wrong with its name.
pub fn node_of(cert: &CertificateDer<'_>) -> Result<NodeId, NodeNameError> {
    let cert = EndEntityCert::try_from(cert).map_err(|_| NodeNameError::Damaged)?;
    let mut names = cert
        .valid_uri_names()
        .filter_map(|name| name.strip_prefix(NODE_NAME));
    let name = names.next().ok_or(NodeNameError::None)?;
    if names.next().is_some() {
        return Err(NodeNameError::Several);
    }
    let node: NodeId = name.parse().map_err(|_| NodeNameError::Form)?;
    // Who compares or searches for the text finds it.
    if node.to_string() == name {
        Ok(node)
    } else {
        Err(NodeNameError::Form)
    }
}

/// The name of a node in its certificate.
fn node_name(node: NodeId) -> String {
    format!("{NODE_NAME}{node}")
}

/// It is of no use to pose as a web site, should somebody come to trust it for more than peering. RFC 5280 §4.2.1.10
fn names_no_host(params: &mut CertificateParams) {
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: vec![
            GeneralSubtree::DnsName(String::new()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
        ],
    });
}

fn node_params(node: NodeId) -> Result<CertificateParams, TlsError> {
    let name = node_name(node);
    let uri = name
        .as_str()
        .try_into()
        .map_err(|error: rcgen::Error| failed(&name, &error))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = authority::named(&format!("laps node {node}"));
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A relay dials and is dialled.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::cert;
    use rcgen::KeyPair;
    use rustls_pki_types::pem::PemObject;

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn with_names(names: &[&str]) -> Result<NodeId, NodeNameError> {
        let ca = PeerCa::generate().unwrap();
        let mut params = node_params(NodeId(1)).unwrap();
        params.subject_alt_names = names
            .iter()
            .map(|name| SanType::URI((*name).try_into().unwrap()))
            .collect();
        node_of(&der(&ca.sign(NodeId(1), &params).unwrap().cert_pem))
    }

    fn text(pem: &str) -> Pem {
        Pem::Text(pem.to_owned())
    }

    #[test]
    fn a_certificate_names_its_node() {
        let ca = PeerCa::generate().unwrap();
        for id in [0, 1, 0x0001_0002_0000_04d2, u64::MAX] {
            let made = ca.certify(NodeId(id)).unwrap();
            assert_eq!(node_of(&der(&made.cert_pem)), Ok(NodeId(id)));
        }
        assert_eq!(
            with_names(&["laps:node:1.2:1234", "https://x"]),
            Ok(NodeId(0x0001_0002_0000_04d2))
        );
    }

    #[test]
    fn other_names_are_no_node() {
        assert_eq!(with_names(&[]), Err(NodeNameError::None));
        assert_eq!(
            with_names(&["laps:relay:1:2", "1:2", "LAPS:node:1:2"]),
            Err(NodeNameError::None)
        );
        assert_eq!(
            with_names(&["laps:node:1:2", "laps:node:1:3"]),
            Err(NodeNameError::Several)
        );
        assert_eq!(
            with_names(&["laps:node:1:2", "laps:node:1:2"]),
            Err(NodeNameError::Several)
        );
        for name in [
            "laps:node:",
            "laps:node:x",
            "laps:node:01:2",
            "laps:node:1:2 ",
            "laps:node:4294967298",
        ] {
            assert_eq!(with_names(&[name]), Err(NodeNameError::Form), "{name}");
        }
        let made = cert::generate::<&str>(&[]).unwrap();
        assert_eq!(node_of(&der(&made.cert_pem)), Err(NodeNameError::None));
        assert_eq!(
            node_of(&CertificateDer::from_slice(b"\x30\x00")),
            Err(NodeNameError::Damaged)
        );
    }

    #[test]
    fn an_authority_is_used_again() {
        let made = PeerCa::generate().unwrap();
        let again = PeerCa::load(&text(made.cert_pem()), &text(&made.key_pem())).unwrap();
        let node = again.certify(NodeId(7)).unwrap();
        let members = Members::of(&text(made.cert_pem())).unwrap();
        assert_eq!(
            members.check(&text(&node.cert_pem), SystemTime::now()).unwrap(),
            NodeId(7)
        );
    }

    #[test]
    fn an_authority_that_is_none_of_ours_is_refused() {
        let (one, two) = (PeerCa::generate().unwrap(), PeerCa::generate().unwrap());
        let web = cert::generate::<&str>(&[]).unwrap();
        for (cert, key) in [
            (one.cert_pem(), two.key_pem()),
            (web.cert_pem.as_str(), web.key_pem.clone()),
        ] {
            let error = PeerCa::load(&text(cert), &text(&key)).unwrap_err().to_string();
            assert!(error.contains("no pair that `laps cert ca` made"), "{error}");
        }
        assert!(PeerCa::load(&text("x"), &text(&one.key_pem())).is_err());
        assert!(PeerCa::load(&text(one.cert_pem()), &text("x")).is_err());
    }

    /// What a browser or another client would ask of a certificate, this authority cannot give.
    #[test]
    fn an_authority_vouches_for_no_host() {
        let ca = PeerCa::generate().unwrap();
        let members = Members::of(&text(ca.cert_pem())).unwrap();
        for host in ["relay.example", "192.0.2.1", "2001:db8::1"] {
            let mut params = node_params(NodeId(1)).unwrap();
            let more = CertificateParams::new(vec![host.to_owned()]).unwrap();
            params.subject_alt_names.extend(more.subject_alt_names);
            let made = ca.sign(NodeId(1), &params).unwrap();
            assert!(
                members.check(&text(&made.cert_pem), SystemTime::now()).is_err(),
                "{host}"
            );
        }
    }

    /// A node cannot let others in: what its key signs is not believed.
    #[test]
    fn a_node_is_no_authority() {
        let ca = PeerCa::generate().unwrap();
        let node = ca.certify(NodeId(1)).unwrap();
        let key = KeyPair::from_pem(&node.key_pem).unwrap();
        let name = node_params(NodeId(1)).unwrap().distinguished_name;
        let forger = PeerCa(Authority::posing(&MESH, name, key));
        let forged = forger.certify(NodeId(2)).unwrap();
        let members = Members::of(&text(ca.cert_pem())).unwrap();
        let chain = format!("{}{}", forged.cert_pem, node.cert_pem);
        assert!(members.check(&text(&chain), SystemTime::now()).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let ca = PeerCa::generate().unwrap();
        let shown = format!("{ca:?} {:?}", ca.certify(NodeId(1)).unwrap());
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }
}
