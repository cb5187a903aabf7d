//! How long the certificates of the relay are good for.

use crate::transport::ServerTls;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::time::SystemTime;

/// The certificates that a relay shows, each by what it is for. What is shown now is read when the page is written.
#[derive(Debug, Default)]
pub struct Certificates(Vec<(&'static str, ServerTls)>);

impl Certificates {
    /// Those of these servers, each with its label.
    #[must_use]
    pub fn of(shown: impl IntoIterator<Item = (&'static str, ServerTls)>) -> Self {
        Self(shown.into_iter().collect())
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = SystemTime::now();
        let help = "How long each certificate that is shown is still valid; below 0 since it has expired";
        let kind = MetricType::Gauge;
        let mut family =
            encoder.encode_descriptor("laps_certificate_left", help, Some(&Unit::Seconds), kind)?;
        for (of, tls) in &self.0 {
            // One whose times nobody can read is left out rather than told wrong.
            if let Some(lifetime) = tls.lifetime() {
                let left = ConstGauge::new(lifetime.left(now));
                left.encode(family.encode_family(&[("certificate", *of)])?)?;
            }
        }
        Ok(())
    }
}
