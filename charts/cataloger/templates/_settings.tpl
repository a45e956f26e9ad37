{{/* The variables that are set, by name. What is empty has the operator's own default. */}}
{{- define "cataloger.settings" -}}
{{- $all := dict
  "CATALOGER_NAMESPACE" (join "," .Values.watchNamespaces)
  "CATALOGER_INSTALLATION" (include "cataloger.installation" .)
  "CATALOGER_SANDBOX_NAMESPACE" (include "cataloger.sandboxes" .)
  "CATALOGER_SANDBOX_IMAGE" (include "cataloger.image" (list .Values.sandbox.image .))
  "CATALOGER_SANDBOX_PULL_POLICY" .Values.sandbox.image.pullPolicy
  "CATALOGER_SANDBOX_PULL_SECRET" (join "," .Values.sandbox.pullSecrets)
  "CATALOGER_SANDBOX_RUNTIME_CLASS" .Values.sandbox.runtimeClass
  "CATALOGER_CLUSTER_DOMAIN" .Values.clusterDomain
  "CATALOGER_MAX_RUNS" (toString .Values.maxRuns)
  "CATALOGER_GRACE_PERIOD" (printf "%ds" (int .Values.gracePeriodSeconds))
  "CATALOGER_BUCKET" .Values.bucket.name
  "CATALOGER_BUCKET_PREFIX" .Values.bucket.prefix
  "CATALOGER_BUCKET_REGION" .Values.bucket.region
  "CATALOGER_BUCKET_ENDPOINT" .Values.bucket.endpoint
  "CATALOGER_BUCKET_PATH_STYLE" (ternary "" (toString .Values.bucket.pathStyle) (kindIs "invalid" .Values.bucket.pathStyle))
  "CATALOGER_MODEL" (ternary "" .Values.model (ne .Values.defaultProvider ""))
  "CATALOGER_FALLBACK" (join "," .Values.fallbacks)
  "CATALOGER_DEFAULT_PROVIDER" .Values.defaultProvider
  "CATALOGER_PROMPTS" "/etc/cataloger/prompts"
  "CATALOGER_ALLOW_IMAGE" (join "," .Values.allow.images)
  "CATALOGER_ALLOW_RUNTIME_CLASS" (join "," .Values.allow.runtimeClasses)
  "CATALOGER_ALLOW_ENDPOINT" (join "," .Values.allow.endpoints)
  "CATALOGER_ALLOW_BASE_URL" (join "," .Values.allow.baseUrls)
  "CATALOGER_ALLOW_NODE_SELECTOR" (join "," .Values.allow.nodeSelectors)
  "CATALOGER_ALLOW_TOLERATION" (join "," .Values.allow.tolerations)
  "CATALOGER_ALLOW_EGRESS" (join "," .Values.allow.egress)
  "CATALOGER_LOG_FORMAT" .Values.log.format
  "RUST_LOG" .Values.log.level
-}}
{{- $set := dict -}}
{{- range $name, $value := $all -}}
{{- if $value }}{{ $_ := set $set $name $value }}{{ end -}}
{{- end -}}
{{- toYaml $set -}}
{{- end -}}
