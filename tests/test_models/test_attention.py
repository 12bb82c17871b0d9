import pytest
import torch

from mmprotomtl.models.layers import Attention, RetrievalBlock


def test_fused_and_explicit_attention_agree():
    fused = Attention(16, 10, 4, fused=True).double()
    explicit = Attention(16, 10, 4, fused=False).double()
    explicit.load_state_dict(fused.state_dict())
    x, memory = torch.randn(2, 7, 16).double(), torch.randn(2, 5, 10).double()
    assert torch.allclose(fused(x, memory), explicit(x, memory))


def copy_attention(ours, theirs):
    """Give an attention of torch the weights of one of ours."""
    theirs.in_proj_weight.data = torch.cat(
        [ours.query.weight, ours.key_value.weight]
    ).data
    theirs.in_proj_bias.data = torch.cat(
        [ours.query.bias, ours.key_value.bias]
    ).data
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def test_attention_is_that_of_torch():
    ours = Attention(8, 8, 2).double()
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    copy_attention(ours, theirs)
    x, memory = torch.randn(3, 5, 8).double(), torch.randn(3, 4, 8).double()
    expected, _ = theirs(x, memory, memory)
    assert torch.allclose(ours(x, memory), expected)


def test_a_block_is_a_decoder_layer_of_torch():
    """With the memory normalised, which torch leaves to the encoder."""
    ours = RetrievalBlock(8, 8, 2).double()
    theirs = torch.nn.TransformerDecoderLayer(
        8, 2, 16, dropout=0, activation='gelu', batch_first=True,
        norm_first=True, dtype=torch.float64,
    )  # fmt: skip
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    for part, other in (
        (ours.norm_self, theirs.norm1), (ours.norm_cross, theirs.norm2),
        (ours.norm_ffn, theirs.norm3), (ours.ffn[0], theirs.linear1),
        (ours.ffn[2], theirs.linear2),
    ):  # fmt: skip
        other.load_state_dict(part.state_dict())
    x, memory = torch.randn(3, 5, 8).double(), torch.randn(3, 4, 8).double()
    expected = theirs(x, ours.norm_memory(memory))
    assert torch.allclose(ours(x, memory), expected)


def test_a_block_reads_its_memory():
    block = RetrievalBlock(8, 6, 2).double()
    x, memory = torch.randn(1, 5, 8).double(), torch.randn(1, 3, 6).double()
    memory.requires_grad_()
    block(x, memory).square().sum().backward()
    assert memory.grad.abs().max() > 0
    # A memory of one vector is read the same by every query.
    same = memory[:, :1].expand(-1, 3, -1)
    read = block.cross_attention(block.norm_cross(x), block.norm_memory(same))
    assert torch.allclose(read[:, 0], read[:, 4])


def test_heads_have_to_divide_the_channels():
    with pytest.raises(ValueError, match='num_heads=3'):
        Attention(16, 16, 3)
