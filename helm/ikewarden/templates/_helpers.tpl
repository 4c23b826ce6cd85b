{{- define "ikewarden.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "ikewarden.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ikewarden.labels" -}}
{{ include "ikewarden.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "ikewarden.claim" -}}
{{ .Values.persistence.existingClaim | default (include "ikewarden.name" .) }}
{{- end }}

{{- define "ikewarden.apiNames" -}}
{{- $own := printf "%s-api" (include "ikewarden.name" .) }}
{{- $names := concat .Values.api.names (list (printf "%s.%s.svc" $own .Release.Namespace) $own "localhost") }}
{{- join "," $names }}
{{- end }}

{{/* The settings, as environment: what the chart knows of, then what is said in `settings`. No secret is among them. */}}
{{- define "ikewarden.environment" -}}
- { name: IKEWARDEN_DIR, value: /var/lib/ikewarden/instance }
- { name: IKEWARDEN_DATABASE__URL, value: {{ required "Set database.url." .Values.database.url | quote }} }
{{- if .Values.database.passwordSecret.name }}
- { name: IKEWARDEN_DATABASE__PASSWORD_FILE, value: /run/secrets/ikewarden/database-password }
{{- end }}
- { name: IKEWARDEN_KEYS__PASSPHRASE_FILE, value: /run/secrets/ikewarden/passphrase }
- { name: IKEWARDEN_API__HOST, value: "0.0.0.0" }
- { name: IKEWARDEN_API__PORT, value: "8443" }
- { name: IKEWARDEN_API__NAMES, value: {{ include "ikewarden.apiNames" . | quote }} }
- { name: IKEWARDEN_VALIDATION__HOST, value: "0.0.0.0" }
- { name: IKEWARDEN_VALIDATION__PORT, value: "8080" }
- { name: IKEWARDEN_VALIDATION__URL, value: {{ required "Set validation.url: it is written into every certificate." .Values.validation.url | quote }} }
{{- with .Values.vault }}
{{- if .url }}
- { name: IKEWARDEN_SECRETS__STORE, value: vault }
- { name: IKEWARDEN_SECRETS__URL, value: {{ .url | quote }} }
- { name: IKEWARDEN_SECRETS__AUTH, value: kubernetes }
- { name: IKEWARDEN_SECRETS__ROLE, value: {{ .role | quote }} }
- { name: IKEWARDEN_SECRETS__JWT_FILE, value: /run/secrets/ikewarden/vault-jwt }
- { name: IKEWARDEN_SECRETS__MOUNT, value: {{ .mount | quote }} }
{{- if .authMount }}
- { name: IKEWARDEN_SECRETS__AUTH_MOUNT, value: {{ .authMount | quote }} }
{{- end }}
{{- if .namespace }}
- { name: IKEWARDEN_SECRETS__NAMESPACE, value: {{ .namespace | quote }} }
{{- end }}
{{- if .caSecret.name }}
- { name: IKEWARDEN_SECRETS__CA_FILE, value: /run/secrets/ikewarden/vault-ca.crt }
{{- end }}
{{- if .transit.enabled }}
- { name: IKEWARDEN_KEYS__STORE, value: transit }
- { name: IKEWARDEN_KEYS__TRANSIT__MOUNT, value: {{ .transit.mount | quote }} }
{{- end }}
{{- end }}
{{- end }}
{{- range $section, $keys := .Values.settings }}
{{- range $key, $value := $keys }}
- { name: {{ printf "IKEWARDEN_%s__%s" ($section | replace "." "__" | upper) (upper $key) }}, value: {{ (kindIs "slice" $value | ternary (join "," $value) (toString $value)) | quote }} }
{{- end }}
{{- end }}
{{- end }}

{{- define "ikewarden.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities: { drop: [ALL] }
env:
  {{- include "ikewarden.environment" . | nindent 2 }}
volumeMounts:
  - { name: instance, mountPath: /var/lib/ikewarden }
  - { name: secrets, mountPath: /run/secrets/ikewarden, readOnly: true }
  - { name: tmp, mountPath: /tmp }
{{- if and .Values.vault.url .Values.vault.transit.enabled }}
  - { name: transit, mountPath: /etc/ikewarden, readOnly: true }
{{- end }}
{{- end }}

{{/* Everything of a pod but its containers. */}}
{{- define "ikewarden.pod" -}}
serviceAccountName: {{ include "ikewarden.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  # The volume is given to this group once; what is in it stays as it was made, for its owner alone.
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: instance
    persistentVolumeClaim: { claimName: {{ include "ikewarden.claim" . }} }
  - name: tmp
    emptyDir: { medium: Memory, sizeLimit: 64Mi }
  {{- if and .Values.vault.url .Values.vault.transit.enabled }}
  - name: transit
    configMap: { name: {{ include "ikewarden.name" . }}-transit }
  {{- end }}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        - secret:
            name: {{ required "Set passphraseSecret.name." .Values.passphraseSecret.name }}
            items: [{ key: {{ .Values.passphraseSecret.key }}, path: passphrase }]
        {{- with .Values.database.passwordSecret }}
        {{- if .name }}
        - secret:
            name: {{ .name }}
            items: [{ key: {{ .key }}, path: database-password }]
        {{- end }}
        {{- end }}
        {{- with .Values.vault }}
        {{- if .url }}
        - serviceAccountToken:
            path: vault-jwt
            expirationSeconds: 3600
            {{- if .audience }}
            audience: {{ .audience | quote }}
            {{- end }}
        {{- if .caSecret.name }}
        - secret:
            name: {{ .caSecret.name }}
            items: [{ key: {{ .caSecret.key }}, path: vault-ca.crt }]
        {{- end }}
        {{- end }}
        {{- end }}
{{- end }}

{{/* A deployment of one part: (dict "root" $ "part" "api" "values" .Values.api "probes" "…" "ports" "…") */}}
{{- define "ikewarden.deployment" -}}
{{- $root := .root }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "ikewarden.name" $root }}-{{ .part }}
  labels:
    {{- include "ikewarden.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
spec:
  {{- if not (and .values.autoscaling (dig "enabled" false (.values.autoscaling | default dict))) }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy: { type: RollingUpdate, rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
  selector:
    matchLabels:
      {{- include "ikewarden.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .part }}
  template:
    metadata:
      labels:
        {{- include "ikewarden.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .part }}
      {{- with $root.Values.podAnnotations }}
      annotations: {{ toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "ikewarden.pod" $root | nindent 6 }}
      terminationGracePeriodSeconds: 40
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "ikewarden.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ .part }}
      initContainers:
        # One of them makes the instance; another that comes meanwhile ends, and is started again.
        - name: instance
          args: [init, --if-missing, --busy-ok, --passphrase-file=/run/secrets/ikewarden/passphrase, {{ printf "--organization=%s" $root.Values.organization | quote }}{{ if and $root.Values.vault.url $root.Values.vault.transit.enabled }}, --transit=/etc/ikewarden/transit.toml{{ end }}, --host=0.0.0.0, --validation-host=0.0.0.0, {{ printf "--validation-url=%s" $root.Values.validation.url | quote }}{{ range splitList "," (include "ikewarden.apiNames" $root) }}, {{ printf "--name=%s" . | quote }}{{ end }}]
          {{- include "ikewarden.container" $root | nindent 10 }}
          resources: {{ toYaml .values.resources | nindent 12 }}
      containers:
        - name: {{ .part }}
          args: [serve, --only, {{ .part }}]
          {{- include "ikewarden.container" $root | nindent 10 }}
          {{- with .ports }}
          ports: {{ . | nindent 12 }}
          # Until nobody sends requests here any more.
          lifecycle: { preStop: { exec: { command: [sleep, "5"] } } }
          {{- end }}
          {{- .probes | nindent 10 }}
          resources: {{ toYaml .values.resources | nindent 12 }}
{{- end }}
