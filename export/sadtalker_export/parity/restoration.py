"""The arrays of networks that restore or find faces, from inputs with the names and shapes of the figures."""

from ..networks.background_enhancer import BackgroundEnhancer
from ..networks.face_alignment import POINTS, FaceAlignment, peaks, usual_68
from ..networks.face_detector import FaceDetector, decode_boxes, decode_landmarks, prior_boxes
from ..networks.face_enhancer import FaceEnhancer
from ..networks.face_parser import FaceParser
from ..networks.restoreformer import RestoreFormer
from .bench import Bench
from .registry import Values, producer

PICTURE = (256, 320)  # height, width
MARGIN = 4  # of the drawn heat maps: no peak lies there
FACEXLIB = 1e-4  # of a standard deviation: these arrays are not of order one


@producer(r"gfpgan\.image", networks={"face_enhancer"})
def enhanced_face(bench: Bench) -> Values:
    face = bench.input("gfpgan", (1, 3, 512, 512), -1, 1)
    return {"gfpgan.image": bench.network("face_enhancer", FaceEnhancer)(face)[:, :, ::4, ::4]}


@producer(r"restoreformer\.image", networks={"restoreformer"})
def restored_face(bench: Bench) -> Values:
    face = bench.input("restoreformer", (1, 3, 512, 512), -1, 1)
    return {"restoreformer.image": bench.network("restoreformer", RestoreFormer)(face)[:, :, ::4, ::4]}


@producer(r"realesrgan\.image", networks={"background_enhancer"}, tolerance=FACEXLIB, relative=True)
def enlarged_picture(bench: Bench) -> Values:
    picture = bench.input("realesrgan", (1, 3, 96, 128), 0, 1)
    return {"realesrgan.image": bench.network("background_enhancer", BackgroundEnhancer)(picture)[:, :, ::2, ::2]}


@producer(r"retinaface\..+", networks={"face_detector"}, tolerance=FACEXLIB, relative=True)
def detected_faces(bench: Bench) -> Values:
    picture = bench.input("detector", (1, 3, *PICTURE), -110, 140)
    boxes, scores, landmarks = bench.network("face_detector", FaceDetector).regress(picture)
    priors = prior_boxes(*PICTURE)
    return {
        "retinaface.boxes": boxes,
        "retinaface.scores": scores,
        "retinaface.landmarks": landmarks,
        "retinaface.priors": priors,
        "retinaface.decoded_boxes": decode_boxes(boxes[0], priors),
        "retinaface.decoded_landmarks": decode_landmarks(landmarks[0], priors),
    }


@producer(r"fan\.heatmaps", networks={"face_alignment"}, tolerance=FACEXLIB, relative=True)
def heatmaps(bench: Bench) -> Values:
    face = bench.input("alignment", (1, 3, 256, 256), 0, 1)
    return {"fan.heatmaps": bench.network("face_alignment", FaceAlignment).heatmaps(face)[:, :, ::2, ::2]}


@producer(r"fan\.points(68)?", tolerance=FACEXLIB, relative=True)
def landmarks(bench: Bench) -> Values:
    drawn = bench.input("heatmaps", (1, POINTS, 64, 64))
    framed = drawn.new_full(drawn.shape, -10)
    framed[..., MARGIN:-MARGIN, MARGIN:-MARGIN] = drawn[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    points = peaks(framed)
    return {"fan.points": points[0], "fan.points68": usual_68(points)[0]}


@producer(r"parsenet\.logits", networks={"face_parser"}, tolerance=FACEXLIB, relative=True)
def parsed_face(bench: Bench) -> Values:
    face = bench.input("parsing", (1, 3, 512, 512), -1, 1)
    return {"parsenet.logits": bench.network("face_parser", FaceParser)(face)[:, :, ::8, ::8]}
