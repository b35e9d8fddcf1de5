#!/usr/bin/env bash
# Written by `plimsoll nodepools`. Makes what is missing and sets what can be changed in place;
# what is there already is not made twice, so that it can be run again at any time.
set -euo pipefail

# Whether the first word is one of the words of the second, which may be over several lines.
has() {
  local word
  for word in $2; do
    if [ "$word" = "$1" ]; then return 0; fi
  done
  return 1
}

: "${ZONES_OPEN:?say the zones of pool open with commas between; accelerators are not in every zone}"
: "${MACHINE_PLAIN:?say the machine type of pool plain}"
: "${ZONES_OPEN_GPUS:?say the zones of pool open-gpus with commas between; accelerators are not in every zone}"

project='acme-ml'
cluster='inference'
location='europe-west4'
zones="$ZONES_OPEN"
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool open: on-demand nodes, a3-highgpu-8g with 8 x H100-80GB-SXM, 1 to 4 of them.
name='open'
per_zone=$(((1 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 4)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=1 --total-max-nodes=4 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=open \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=a3-highgpu-8g \
    --accelerator=type=nvidia-h100-80gb,count=8,gpu-driver-version=default \
    --enable-gvnic \
    --ephemeral-storage-local-ssd=count=16 \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=1 --total-max-nodes=4 \
    --location-policy=BALANCED \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=open \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones='europe-west4-a'
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool zoned: spot nodes, a3-highgpu-8g with 8 x H100-80GB-SXM, 0 to 1 of them.
name='zoned'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 1)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=zoned,team=ml \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule,team=ml:NoSchedule,slow=:PreferNoSchedule,cloud.google.com/gke-spot=true:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=a3-highgpu-8g \
    --accelerator=type=nvidia-h100-80gb,count=8,gpu-driver-version=default \
    --enable-gvnic \
    --ephemeral-storage-local-ssd=count=16 \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --location-policy=ANY \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=zoned,team=ml \
    --node-taints=nvidia.com/gpu=present:NoSchedule,team=ml:NoSchedule,slow=:PreferNoSchedule,cloud.google.com/gke-spot=true:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --spot \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones='europe-west4-a'
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool part-spot: spot nodes, a3-highgpu-8g with 8 x H100-80GB-SXM, 0 to 7 of them.
name='part-spot-spot'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 7)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=7 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=part-spot \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule,cloud.google.com/gke-spot=true:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=a3-highgpu-8g \
    --accelerator=type=nvidia-h100-80gb,count=8,gpu-driver-version=default \
    --enable-gvnic \
    --ephemeral-storage-local-ssd=count=16 \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=7 \
    --location-policy=ANY \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=part-spot \
    --node-taints=nvidia.com/gpu=present:NoSchedule,cloud.google.com/gke-spot=true:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --spot \
    --quiet
fi

# Pool part-spot: on-demand nodes, a3-highgpu-8g with 8 x H100-80GB-SXM, 2 to 3 of them.
name='part-spot-on-demand'
per_zone=$(((2 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 3)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=2 --total-max-nodes=3 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=part-spot \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=a3-highgpu-8g \
    --accelerator=type=nvidia-h100-80gb,count=8,gpu-driver-version=default \
    --enable-gvnic \
    --ephemeral-storage-local-ssd=count=16 \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=2 --total-max-nodes=3 \
    --location-policy=BALANCED \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=part-spot \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones='europe-west4-a'
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool bought: reserved nodes, a3-highgpu-8g with 8 x H100-80GB-SXM, 0 to 1 of them.
name='bought'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 1)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=bought \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=a3-highgpu-8g \
    --accelerator=type=nvidia-h100-80gb,count=8,gpu-driver-version=default \
    --enable-gvnic \
    --ephemeral-storage-local-ssd=count=16 \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --location-policy=ANY \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=bought \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --reservation-affinity=specific --reservation=cr-0a1b \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones='europe-west4-a'
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool turns: on-demand nodes, g2-standard-48 with 4 x L4, 0 to 1 of them.
name='turns'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 1)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=turns \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=g2-standard-48 \
    --accelerator=type=nvidia-l4,count=4,gpu-driver-version=default,gpu-sharing-strategy=time-sharing,max-shared-clients-per-gpu=4 \
    --enable-gvnic \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --location-policy=BALANCED \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=turns \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones='europe-west4-a'
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool cut: on-demand nodes, a3-highgpu-8g with 8 x H100-80GB-SXM, 0 to 1 of them.
name='cut'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 1)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=cut \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=a3-highgpu-8g \
    --accelerator=type=nvidia-h100-80gb,count=8,gpu-driver-version=default,gpu-partition-size=1g.10gb \
    --enable-gvnic \
    --ephemeral-storage-local-ssd=count=16 \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --location-policy=BALANCED \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=cut \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones='europe-west4-a'
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool cut-mixed: on-demand nodes, a3-highgpu-8g with 8 x H100-80GB-SXM, 0 to 1 of them.
# GKE cuts all accelerators of a pool into one MIG profile; these are cut by NVIDIA's
# GPU Operator instead, which also installs the driver (NVIDIA/gpu-operator#1679 tells
# of trouble with its toolkit on GKE).
# The label nvidia.com/mig.config cuts the accelerators. When it changes, drain the nodes
# first: the accelerators are reset, and what runs on them is lost.
name='cut-mixed'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 1)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=gke-no-default-nvidia-gpu-device-plugin=true,nvidia.com/device-plugin.config=plimsoll-cut-mixed-f2bcc930,nvidia.com/mig.config=plimsoll-cut-mixed-c2aa3aa7,plimsoll.dev/pool=cut-mixed \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=a3-highgpu-8g \
    --accelerator=type=nvidia-h100-80gb,count=8,gpu-driver-version=disabled \
    --enable-gvnic \
    --ephemeral-storage-local-ssd=count=16 \
    --image-type=UBUNTU_CONTAINERD \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --location-policy=BALANCED \
    --disk-size=60 \
    --node-labels=gke-no-default-nvidia-gpu-device-plugin=true,nvidia.com/device-plugin.config=plimsoll-cut-mixed-f2bcc930,nvidia.com/mig.config=plimsoll-cut-mixed-c2aa3aa7,plimsoll.dev/pool=cut-mixed \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones='europe-west4-a'
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool plain: on-demand nodes, no accelerators, 0 to 1 of them.
name='plain'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 1)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=plain \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints= \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type="$MACHINE_PLAIN" \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=1 \
    --location-policy=BALANCED \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=plain \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --quiet
fi

project='acme-ml'
cluster='inference'
location='europe-west4'
zones="$ZONES_OPEN_GPUS"
# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.
IFS=, read -ra each_zone <<<"$zones"

# Pool open-gpus: on-demand nodes, g2-standard-4 with 1 x L4, 0 to 2 of them.
name='open-gpus'
per_zone=$(((0 + ${#each_zone[@]} - 1) / ${#each_zone[@]}))
if ((per_zone * ${#each_zone[@]} > 2)); then per_zone=0; fi
existing="$(gcloud container node-pools list \
  --cluster "$cluster" \
  --location "$location" \
  --project "$project" \
  --format 'value(name)')"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=2 \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-labels=plimsoll.dev/pool=open-gpus \
    --quiet
  gcloud container node-pools update "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --quiet
else
  echo "making node pool $name"
  gcloud container node-pools create "$name" \
    --cluster "$cluster" \
    --location "$location" \
    --project "$project" \
    --machine-type=g2-standard-4 \
    --accelerator=type=nvidia-l4,count=1,gpu-driver-version=default \
    --enable-gvnic \
    --node-locations "$zones" \
    --num-nodes "$per_zone" \
    --enable-autoscaling --total-min-nodes=0 --total-max-nodes=2 \
    --location-policy=BALANCED \
    --disk-size=60 \
    --node-labels=plimsoll.dev/pool=open-gpus \
    --node-taints=nvidia.com/gpu=present:NoSchedule \
    --max-surge-upgrade=0 --max-unavailable-upgrade=1 \
    --quiet
fi
