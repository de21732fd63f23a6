{{- /* The pod of every job: (dict "root" $ "arguments" (list ...) "part" "migrate" "warnings" "pass"|"fail") */ -}}
{{- define "regctl.pod" -}}
metadata:
  labels:
    app.kubernetes.io/name: regctl-jobs
    app.kubernetes.io/instance: {{ .root.Release.Name }}
    app.kubernetes.io/component: {{ .part }}
  annotations:
    regctl/part: {{ .part }}
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # One name for all of regctl's pods: locks of a pod that is gone are then known to be free.
  hostname: regctl
  restartPolicy: Never
  automountServiceAccountToken: false
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .root.Values.podSecurityContext | nindent 4 }}
  initContainers:
    # regctl keeps a note beside the registry's file while it works on it, and a Secret cannot be written to.
    - name: config
      image: {{ include "regctl.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [/bin/sh, -c, install -m 0440 /run/registry-config/config.yml /etc/docker/registry/config.yml]
      {{- include "regctl.container" .root | nindent 6 }}
    # What an evicted pod left open is finished, or put back, before anything else is begun.
    - name: resume
      image: {{ include "regctl.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [regctl]
      args: [--output, jsonl, --yes, run, resume]
      {{- include "regctl.container" .root | nindent 6 }}
  containers:
    - name: regctl
      image: {{ include "regctl.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      {{- if eq .warnings "pass" }}
      # Exit code 3 is "done, with findings": a Job knows only done and failed, so here it becomes done. The last
      # line of the log says which it was.
      command:
        - /bin/sh
        - -c
        - 'regctl "$@" || { code=$?; [ "$code" -eq 3 ] || exit "$code"; }'
        - regctl
      {{- else }}
      command: [regctl]
      {{- end }}
      args:
        {{- toYaml .arguments | nindent 8 }}
      {{- include "regctl.container" .root | nindent 6 }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumes:
    - name: site
      configMap:
        name: {{ .root.Release.Name }}-regctl
    {{- if .root.Values.recipes }}
    - name: recipes
      configMap:
        name: {{ .root.Release.Name }}-regctl-recipes
    {{- end }}
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          - secret:
              name: {{ .root.Values.database.secret }}
              items: [{key: password, path: database.password}]
          {{- if .root.Values.database.caSecret }}
          - secret:
              name: {{ .root.Values.database.caSecret }}
              items: [{key: ca.crt, path: database-ca.crt}]
          {{- end }}
          {{- if .root.Values.registry.credentials.secret }}
          - secret:
              name: {{ .root.Values.registry.credentials.secret }}
              items: [{key: password, path: registry.password}]
          {{- end }}
    - name: registry-config
      secret:
        secretName: {{ .root.Values.registry.configSecret }}
        defaultMode: 0440
    - name: storage
      persistentVolumeClaim:
        claimName: {{ .root.Values.storage.claim }}
    - name: state
      persistentVolumeClaim:
        claimName: {{ .root.Values.state.claim | default (printf "%s-regctl-state" .root.Release.Name) }}
    - name: config
      emptyDir: {medium: Memory}
    - name: scratch
      emptyDir: {}
{{- end }}

{{- define "regctl.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}

{{- define "regctl.container" -}}
env:
  - {name: REGCTL_SITE, value: /etc/regctl/site.yml}
  - {name: REGCTL_STATE_DIR, value: /var/lib/regctl/state}
  - {name: HOME, value: /tmp}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - {name: site, mountPath: /etc/regctl/site.yml, subPath: site.yml, readOnly: true}
  {{- if .Values.recipes }}
  - {name: recipes, mountPath: /etc/regctl/recipes.d, readOnly: true}
  {{- end }}
  - {name: secrets, mountPath: /etc/regctl/secrets, readOnly: true}
  - {name: registry-config, mountPath: /run/registry-config, readOnly: true}
  - {name: config, mountPath: /etc/docker/registry}
  - {name: storage, mountPath: {{ .Values.storage.rootdirectory | quote }}}
  - {name: state, mountPath: /var/lib/regctl}
  - {name: scratch, mountPath: /tmp}
{{- end }}

{{- /* What a failed pod means, by regctl's exit codes: docs/reference/exit-codes.md */ -}}
{{- define "regctl.failures" -}}
podFailurePolicy:
  rules:
    # Trying again changes nothing: a mistake in the call (2), refused as unsafe (6), a mistake in a file (10).
    - action: FailJob
      onExitCodes:
        containerName: regctl
        operator: In
        values: [2, 6, 10]
    # Evicted or preempted: not counted; the next pod resumes.
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
    # Everything else (failed 1, locked 5, unreachable 7, interrupted 130) is tried again, backoffLimit times.
{{- end }}
