//! What is counted: one struct of metrics a stage, each with its help text, all in one registry.
//!
//! A stage declares its struct with [`crate::metrics!`]; the doc comment of a field is its help text,
//! and the catalogue in `docs/metrics.md` is printed from the same declarations by a test.

use prometheus::{Registry, TextEncoder};

/// Buckets for how long a customer waited, in seconds. 12 minutes is an edge: it is the promise.
pub const WAIT_SECONDS: &[f64] =
    &[30.0, 60.0, 120.0, 240.0, 360.0, 480.0, 600.0, 720.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];

/// Buckets for the machine's own delays, in seconds: from a millisecond to ten seconds.
pub const DELAY_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Declares a stage's metrics: `name: kind = "moksori_stage_thing_unit" [labels] (buckets)`.
///
/// Kinds are `IntCounter`, `IntCounterVec`, `IntGauge`, `IntGaugeVec`, `Histogram` and `HistogramVec`
/// of the `prometheus` crate. `new` registers all of them and fails only if a name is taken.
#[macro_export]
macro_rules! metrics {
    (
        $(#[doc = $struct_doc:literal])*
        pub struct $name:ident {
            $( $(#[doc = $help:literal])+ $field:ident: $kind:ident = $metric:literal $([$($label:literal),+])? $(($buckets:expr))?, )+
        }
    ) => {
        $(#[doc = $struct_doc])*
        #[derive(Clone, Debug)]
        pub struct $name { $( $(#[doc = $help])+ pub $field: ::prometheus::$kind, )+ }

        impl $name {
            /// Makes the metrics and registers them.
            ///
            /// # Errors
            /// When another stage has taken one of the names.
            pub fn new(registry: &::prometheus::Registry) -> ::prometheus::Result<Self> {
                Ok(Self { $( $field: {
                    let help = concat!($($help),+).trim();
                    let metric = $crate::metrics!(@make $kind, $metric, help $([$($label),+])? $(($buckets))?);
                    registry.register(Box::new(metric.clone()))?;
                    metric
                }, )+ })
            }

            /// Name, kind, labels and help of each metric, as docs/metrics.md lists them.
            pub fn catalogue() -> Vec<$crate::metrics::Entry> {
                vec![ $( $crate::metrics::Entry {
                    name: $metric,
                    kind: stringify!($kind),
                    labels: &[$($($label),+)?],
                    help: concat!($($help),+).trim(),
                }, )+ ]
            }
        }
    };
    (@make Histogram, $metric:literal, $help:ident ($buckets:expr)) => {
        ::prometheus::Histogram::with_opts(::prometheus::HistogramOpts::new($metric, $help).buckets($buckets.to_vec()))?
    };
    (@make HistogramVec, $metric:literal, $help:ident [$($label:literal),+] ($buckets:expr)) => {
        ::prometheus::HistogramVec::new(::prometheus::HistogramOpts::new($metric, $help).buckets($buckets.to_vec()), &[$($label),+])?
    };
    (@make $kind:ident, $metric:literal, $help:ident [$($label:literal),+]) => {
        ::prometheus::$kind::new(::prometheus::Opts::new($metric, $help), &[$($label),+])?
    };
    (@make $kind:ident, $metric:literal, $help:ident) => {
        ::prometheus::$kind::new($metric, $help)?
    };
}

/// One line of docs/metrics.md.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The metric's name.
    pub name: &'static str,
    /// Its kind, as the `prometheus` crate calls it.
    pub kind: &'static str,
    /// Its labels; their values come from enums or configuration, never from a post.
    pub labels: &'static [&'static str],
    /// What it counts, and when to worry.
    pub help: &'static str,
}

/// The registry in the text format that Prometheus scrapes.
///
/// # Errors
/// When a metric cannot be encoded, which means that one was declared wrongly.
pub fn scrape(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metrics! {
        /// Metrics of nothing.
        pub struct Sample {
            /// Posts seen.
            seen: IntCounter = "moksori_sample_seen_total",
            /// Waits by team.
            waits: HistogramVec = "moksori_sample_wait_seconds" ["team"] (WAIT_SECONDS),
        }
    }

    #[test]
    fn a_declared_metric_is_scraped_with_its_help() {
        let registry = Registry::new();
        let sample = Sample::new(&registry).unwrap();
        sample.seen.inc();
        sample.waits.with_label_values(&["cs"]).observe(719.0);
        let text = scrape(&registry).unwrap();
        assert!(text.contains("# HELP moksori_sample_seen_total Posts seen."));
        assert!(text.contains("moksori_sample_wait_seconds_bucket{team=\"cs\",le=\"720\"} 1"));
        assert!(Sample::new(&registry).is_err(), "a name cannot be taken twice");
        assert_eq!(Sample::catalogue()[1].labels, ["team"]);
    }
}
