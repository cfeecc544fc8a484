# METADATA
# title: The restricted profile of the Pod Security Standards
# description: |
#   It is the baseline and today's good practice: no root, no capabilities, no gaining of
#   rights, a seccomp profile, and only volumes that cannot reach the node.
package tidegate.pod_security_restricted

import data.lib.pod_security
import data.lib.workload

deny contains workload.violation("TG-PSS-RESTRICTED", f.about, f.field, f.wanted, f.found, f.fix) if some f in pod_security.restricted
