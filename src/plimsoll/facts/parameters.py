"""How many weights a network has, part by part, and how a split over devices divides each part."""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.facts.network import FeedForward, Layer, Mixer, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Numbers of weights of one part, by what tensor parallelism does with them.

    divided  cut over all devices
    by_head  of keys and values: cut by KV heads, of which each device has at least one
    whole    held by every device (router, compressed projections, norms)
    experts  of all experts together: cut, or spread whole
    active   of the experts that one token passes; part of `experts`
    """

    divided: int = 0
    by_head: int = 0
    whole: int = 0
    experts: int = 0
    active: int = 0

    @property
    def total(self) -> int:
        """All weights."""
        return self.divided + self.by_head + self.whole + self.experts

    @property
    def per_token(self) -> int:
        """Weights that one token meets."""
        return self.divided + self.by_head + self.whole + self.active


def mixer_weights(hidden: int, mixer: Mixer) -> Weights:
    """The weights of one mixer in a model `hidden` wide."""
    if mixer.parameters:
        return Weights(divided=mixer.parameters, whole=_indexer(hidden, mixer))
    if mixer.kind == "attention":
        queries = hidden * mixer.heads * mixer.key_dim
        return Weights(
            divided=queries * (2 if mixer.gated else 1) + mixer.heads * mixer.value_dim * hidden,
            by_head=hidden * mixer.kept_elements,
            whole=_indexer(hidden, mixer),
        )
    if mixer.kind == "latent":
        plain = mixer.key_dim - mixer.rope_dim
        return Weights(
            divided=(mixer.q_rank or hidden) * mixer.heads * mixer.key_dim
            + mixer.kv_rank * mixer.heads * (plain + mixer.value_dim)
            + mixer.heads * mixer.value_dim * hidden * (2 if mixer.gated else 1),
            whole=hidden * (mixer.q_rank + mixer.kv_rank + mixer.rope_dim)
            + _indexer(hidden, mixer),
        )
    return Weights()


def _indexer(hidden: int, mixer: Mixer) -> int:
    """The weights that choose what sparse attention reads."""
    queries = (mixer.q_rank or hidden) * mixer.index_heads * mixer.index_dim
    return queries + hidden * (mixer.index_dim + mixer.index_heads)


def feed_forward_weights(hidden: int, part: FeedForward) -> Weights:
    """The weights of one feed-forward part in a model `hidden` wide."""
    expert = part.matrices * (part.expert_input or hidden) * part.expert_width
    return Weights(
        divided=part.matrices * hidden * (part.width + part.shared_width),
        whole=hidden * (part.experts + 2 * part.expert_input),
        experts=part.experts * expert,
        active=part.experts_used * expert,
    )


def layer_weights(network: Network, layer: Layer) -> Weights:
    """The weights of one layer of a kind: mixer, feed-forward part and two norms."""
    mixer = mixer_weights(network.hidden, layer.mixer)
    part = feed_forward_weights(network.hidden, layer.feed_forward)
    return Weights(
        divided=mixer.divided + part.divided,
        by_head=mixer.by_head + part.by_head,
        whole=mixer.whole + part.whole + 2 * network.hidden,
        experts=part.experts,
        active=part.active,
    )


def embedding_weights(network: Network) -> int:
    """The weights of the input embedding and, where it is not the same, of the output head."""
    copies = 1 if network.tied or network.embedding else 2
    return copies * network.vocab * network.hidden


def parameters(network: Network) -> int:
    """All weights of a network."""
    layers = sum(layer.count * layer_weights(network, layer).total for layer in network.layers)
    return layers + embedding_weights(network) + network.extra


def active_parameters(network: Network) -> int:
    """The weights that one token meets, the output head included, the input embedding not."""
    layers = sum(layer.count * layer_weights(network, layer).per_token for layer in network.layers)
    return layers + network.vocab * network.hidden
