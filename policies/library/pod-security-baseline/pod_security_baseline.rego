# METADATA
# title: The baseline of the Pod Security Standards
# description: |
#   It forbids what is known to lead from a container to its node: namespaces, ports and paths
#   of the node, privileged containers, capabilities, profiles that are switched off. Kubernetes
#   itself checks Pods only; this says it where the workload is written, before any rollout.
package tidegate.pod_security_baseline

import data.lib.pod_security
import data.lib.workload

deny contains workload.violation("TG-PSS-BASELINE", f.about, f.field, f.wanted, f.found, f.fix) if some f in pod_security.baseline
