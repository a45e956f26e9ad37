{{- define "cataloger.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What belongs to no namespace: another release may be called the same elsewhere. */}}
{{- define "cataloger.clustername" -}}
{{- printf "%s-%s" .Release.Namespace (include "cataloger.fullname" .) -}}
{{- end -}}

{{- define "cataloger.installation" -}}
{{- .Values.installation | default (include "cataloger.clustername" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "cataloger.serviceaccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "cataloger.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "cataloger.sandboxes" -}}
{{- .Values.sandbox.namespace.name | default (printf "%s-sandboxes" .Release.Namespace) -}}
{{- end -}}

{{- define "cataloger.selftest.namespace" -}}
{{- .Values.selftest.namespace | default (first (append .Values.watchNamespaces .Release.Namespace)) -}}
{{- end -}}

{{- define "cataloger.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cataloger.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: cataloger
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* An image, given its values and the chart's. */}}
{{- define "cataloger.image" -}}
{{- $image := index . 0 -}}
{{- $root := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What the operator may do with Catalogs and what they name, in each namespace that it looks at. */}}
{{- define "cataloger.rules" -}}
# It never changes a Catalog's spec; it makes those of a schedule, and deletes one whose time is over.
- apiGroups: [cataloger.dev]
  resources: [catalogs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [cataloger.dev]
  resources: [catalogschedules, modelproviders]
  verbs: [get, list, watch]
- apiGroups: [cataloger.dev]
  resources: [catalogs/status, catalogschedules/status, modelproviders/status]
  verbs: [patch]
# By name, when a run needs one. It can't find out which there are.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# Prompts that a Catalog names.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* The ModelProvider of Catalogs that name none, and its key, where no Catalogs are looked at. */}}
{{- define "cataloger.provider" -}}
- apiGroups: [cataloger.dev]
  resources: [modelproviders]
  verbs: [get, list, watch]
- apiGroups: [cataloger.dev]
  resources: [modelproviders/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end -}}

{{/* A database that is a Service of the cluster becomes its Pods, in the policy of a sandbox. */}}
{{- define "cataloger.services" -}}
- apiGroups: [""]
  resources: [services]
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
{{- end -}}

{{/* The sandboxes. */}}
{{- define "cataloger.pods" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
# kube opens a websocket with GET; from 1.35 on the API server asks for create as well.
- apiGroups: [""]
  resources: [pods/exec]
  verbs: [get, create]
# Why a Pod does not start.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, create, patch, delete]
{{- end -}}

{{/* A role and its binding to the operator: dictionary of root, name, rules, and namespace (none: everywhere). */}}
{{- define "cataloger.granted" -}}
{{- $kind := ternary "Role" "ClusterRole" (hasKey . "namespace") -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "cataloger.labels" .root | nindent 4 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "cataloger.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: {{ include "cataloger.serviceaccount" .root }}
  namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* The ports of a list of URLs, which may be patterns, as numbers with commas between them. */}}
{{- define "cataloger.ports" -}}
{{- $ports := list -}}
{{- range . -}}
{{- $server := regexFind "^https?://[^/]*" . -}}
{{- $port := regexFind ":[0-9]+$" $server | trimPrefix ":" -}}
{{- if $port -}}
{{- $ports = append $ports $port -}}
{{- else if hasPrefix "http:" $server -}}
{{- $ports = append $ports "80" -}}
{{- end -}}
{{- end -}}
{{- join "," $ports -}}
{{- end -}}
