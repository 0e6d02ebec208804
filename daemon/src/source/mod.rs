//! Where apps come from: a Marathon cluster or a file. Each source publishes snapshots.
