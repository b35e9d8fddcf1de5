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

: "${MACHINE_PLAIN:?say the machine type of pool plain}"

resources='ml'
cluster='inference'

# Pool open: on-demand nodes, Standard_ND96isr_H100_v5 with 8 x H100-80GB-SXM, 1 to 4 of them.
# AKS takes short names: `open` is its name there, the label says the pool's.
name='open'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 1 \
    --max-count 4 \
    --labels plimsoll.dev/pool=open \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_ND96isr_H100_v5 \
    --node-count 1 \
    --enable-cluster-autoscaler \
    --min-count 1 \
    --max-count 4 \
    --node-osdisk-size 60 \
    --labels plimsoll.dev/pool=open \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --gpu-driver None \
    --output none
fi

resources='ml'
cluster='inference'

# Pool zoned: spot nodes, Standard_ND96isr_H100_v5 with 8 x H100-80GB-SXM, 0 to 1 of them.
# AKS takes short names: `zoned` is its name there, the label says the pool's.
name='zoned'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --labels plimsoll.dev/pool=zoned team=ml \
    --node-taints nvidia.com/gpu=present:NoSchedule,team=ml:NoSchedule,slow=:PreferNoSchedule,kubernetes.azure.com/scalesetpriority=spot:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_ND96isr_H100_v5 \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels plimsoll.dev/pool=zoned team=ml \
    --node-taints nvidia.com/gpu=present:NoSchedule,team=ml:NoSchedule,slow=:PreferNoSchedule,kubernetes.azure.com/scalesetpriority=spot:NoSchedule \
    --priority Spot \
    --eviction-policy Delete \
    --spot-max-price -1 \
    --gpu-driver None \
    --output none
fi

resources='ml'
cluster='inference'

# Pool part-spot: spot nodes, Standard_ND96isr_H100_v5 with 8 x H100-80GB-SXM, 0 to 7 of them.
# AKS takes short names: `partspo84ab5` is its name there, the label says the pool's.
name='partspo84ab5'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 7 \
    --labels plimsoll.dev/pool=part-spot \
    --node-taints nvidia.com/gpu=present:NoSchedule,kubernetes.azure.com/scalesetpriority=spot:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_ND96isr_H100_v5 \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 7 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels plimsoll.dev/pool=part-spot \
    --node-taints nvidia.com/gpu=present:NoSchedule,kubernetes.azure.com/scalesetpriority=spot:NoSchedule \
    --priority Spot \
    --eviction-policy Delete \
    --spot-max-price -1 \
    --gpu-driver None \
    --output none
fi

# Pool part-spot: on-demand nodes, Standard_ND96isr_H100_v5 with 8 x H100-80GB-SXM, 2 to 3 of them.
# AKS takes short names: `partspo4ae84` is its name there, the label says the pool's.
name='partspo4ae84'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 2 \
    --max-count 3 \
    --labels plimsoll.dev/pool=part-spot \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_ND96isr_H100_v5 \
    --node-count 2 \
    --enable-cluster-autoscaler \
    --min-count 2 \
    --max-count 3 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels plimsoll.dev/pool=part-spot \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --gpu-driver None \
    --output none
fi

resources='ml'
cluster='inference'

# Pool bought: reserved nodes, Standard_ND96isr_H100_v5 with 8 x H100-80GB-SXM, 0 to 1 of them.
# AKS takes short names: `bought` is its name there, the label says the pool's.
name='bought'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --labels plimsoll.dev/pool=bought \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_ND96isr_H100_v5 \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels plimsoll.dev/pool=bought \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --gpu-driver None \
    --crg-id cr-0a1b \
    --output none
fi

resources='ml'
cluster='inference'

# Pool turns: on-demand nodes, Standard_NC64as_T4_v3 with 4 x T4, 0 to 1 of them.
# AKS takes short names: `turns` is its name there, the label says the pool's.
name='turns'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --labels nvidia.com/device-plugin.config=plimsoll-turns-680dc74b plimsoll.dev/pool=turns \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_NC64as_T4_v3 \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels nvidia.com/device-plugin.config=plimsoll-turns-680dc74b plimsoll.dev/pool=turns \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --gpu-driver None \
    --output none
fi

resources='ml'
cluster='inference'

# Pool cut: on-demand nodes, Standard_ND96isr_H100_v5 with 8 x H100-80GB-SXM, 0 to 1 of them.
# AKS takes short names: `cut` is its name there, the label says the pool's.
name='cut'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --labels nvidia.com/device-plugin.config=plimsoll-cut-f678f195 plimsoll.dev/pool=cut \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_ND96isr_H100_v5 \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels nvidia.com/device-plugin.config=plimsoll-cut-f678f195 plimsoll.dev/pool=cut \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --gpu-driver Install \
    --gpu-instance-profile MIG1g \
    --output none
fi

resources='ml'
cluster='inference'

# Pool cut-mixed: on-demand nodes, Standard_ND96isr_H100_v5 with 8 x H100-80GB-SXM, 0 to 1 of them.
# AKS takes short names: `cutmixe6ac64` is its name there, the label says the pool's.
# The label nvidia.com/mig.config cuts the accelerators. When it changes, drain the nodes
# first: the accelerators are reset, and what runs on them is lost.
name='cutmixe6ac64'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --labels nvidia.com/device-plugin.config=plimsoll-cut-mixed-f2bcc930 nvidia.com/mig.config=plimsoll-cut-mixed-c2aa3aa7 plimsoll.dev/pool=cut-mixed \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_ND96isr_H100_v5 \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels nvidia.com/device-plugin.config=plimsoll-cut-mixed-f2bcc930 nvidia.com/mig.config=plimsoll-cut-mixed-c2aa3aa7 plimsoll.dev/pool=cut-mixed \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --gpu-driver None \
    --output none
fi

resources='ml'
cluster='inference'

# Pool plain: on-demand nodes, no accelerators, 0 to 1 of them.
# AKS takes short names: `plain` is its name there, the label says the pool's.
name='plain'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --labels plimsoll.dev/pool=plain \
    --node-taints '' \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size "$MACHINE_PLAIN" \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 1 \
    --node-osdisk-size 60 \
    --zones europe-west4-a \
    --labels plimsoll.dev/pool=plain \
    --output none
fi

resources='ml'
cluster='inference'

# Pool open-gpus: on-demand nodes, Standard_NC4as_T4_v3 with 1 x T4, 0 to 2 of them.
# AKS takes short names: `opengpudfae2` is its name there, the label says the pool's.
name='opengpudfae2'
existing="$(az aks nodepool list \
  --resource-group "$resources" \
  --cluster-name "$cluster" \
  --query '[].name' \
  --output tsv)"
if has "$name" "$existing"; then
  echo "node pool $name is there: setting its bounds, labels and taints"
  az aks nodepool update \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --update-cluster-autoscaler \
    --min-count 0 \
    --max-count 2 \
    --labels plimsoll.dev/pool=open-gpus \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --output none
else
  echo "making node pool $name"
  az aks nodepool add \
    --resource-group "$resources" \
    --cluster-name "$cluster" \
    --name "$name" \
    --mode User \
    --node-vm-size Standard_NC4as_T4_v3 \
    --node-count 0 \
    --enable-cluster-autoscaler \
    --min-count 0 \
    --max-count 2 \
    --node-osdisk-size 60 \
    --labels plimsoll.dev/pool=open-gpus \
    --node-taints nvidia.com/gpu=present:NoSchedule \
    --gpu-driver None \
    --output none
fi
