"""Random weights in SAM 3's own layout, small enough to be made on the spot: the real code, no download."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTokenizer,
    Sam3Config,
    Sam3Model,
    Sam3VideoConfig,
    Sam3VideoModel,
    Sam3VisionConfig,
    Sam3ViTConfig,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.sam3_tracker_video.configuration_sam3_tracker_video import (
    Sam3TrackerVideoConfig,
    Sam3TrackerVideoMaskDecoderConfig,
    Sam3TrackerVideoPromptEncoderConfig,
)

SIDE = 112  # px; 8 x 8 patches
WIDTH = 128  # the tracker's memory is 64 wide, and its pointers are cut into parts of that


def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with bytes alone for a vocabulary."""
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])


def detector_config(width: int = WIDTH) -> Sam3Config:
    """A detector with one layer of everything and 5 queries."""
    small = {"hidden_size": width, "num_attention_heads": 4, "intermediate_size": 32, "num_layers": 1}
    return Sam3Config(
        vision_config=vision_config(width),
        text_config=CLIPTextConfig(
            vocab_size=len(tokenizer()),
            hidden_size=32,
            intermediate_size=32,
            projection_dim=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            bos_token_id=512,
            eos_token_id=513,
        ).to_dict(),
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 5},
        mask_decoder_config={"hidden_size": width, "num_attention_heads": 4},
    )


def vision_config(width: int = WIDTH) -> Sam3VisionConfig:
    """Two layers of a vision transformer, one with windows, and its neck."""
    side = SIDE // 14
    return Sam3VisionConfig(
        backbone_config=Sam3ViTConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            pretrain_image_size=SIDE // 2,
            window_size=4,
            global_attn_indexes=[1],
        ).to_dict(),
        fpn_hidden_size=width,
        backbone_feature_sizes=[[4 * side, 4 * side], [2 * side, 2 * side], [side, side]],
    )


def video_config() -> Sam3VideoConfig:
    """Detector and tracker; every detection begins a track, as random weights score low."""
    side = SIDE // 14
    tracker = Sam3TrackerVideoConfig(
        image_size=SIDE,
        vision_config=vision_config(),
        prompt_encoder_config=Sam3TrackerVideoPromptEncoderConfig(hidden_size=WIDTH, image_size=SIDE),
        mask_decoder_config=Sam3TrackerVideoMaskDecoderConfig(
            hidden_size=WIDTH, mlp_dim=32, num_attention_heads=4, iou_head_hidden_dim=32
        ),
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[side, side],
        memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
    )
    return Sam3VideoConfig(
        detector_config=detector_config(),
        tracker_config=tracker,
        low_res_mask_size=4 * side,
        score_threshold_detection=0.05,
        new_det_thresh=0.05,
        high_conf_thresh=0.05,
        recondition_every_nth_frame=3,
        hotstart_delay=6,
        hotstart_unmatch_thresh=6,
        hotstart_dup_thresh=3,
    )


def save_video(folder: Path, seed: int = 0) -> Path:
    """Weights in the layout of the published ones: detector and tracker."""
    torch.manual_seed(seed)
    model = Sam3VideoModel(video_config())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.add_(torch.randn_like(parameter) * 0.005)
            elif not parameter.any():
                parameter.add_(torch.randn_like(parameter) * 0.5)  # zeros would hide what is left out
        # the tracker is sure that the object is there, or every track would end at once
        model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(5)
    model.save_pretrained(folder)
    # under the published names: those that save_pretrained gives hold `tracker_model` twice
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    tokenizer().save_pretrained(folder)
    return folder


def save_detector(folder: Path, seed: int = 0) -> Path:
    """Weights of the detector alone."""
    torch.manual_seed(seed)
    Sam3Model(detector_config(32)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
