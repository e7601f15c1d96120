"""How networks are trained, as data, whatever they are trained on; pydantic alone is needed."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class NetworkTraining(BaseModel):
    """How networks are trained; one for a run, shared by its hyperbolic and Euclidean networks.

    The fields are the parameters of the same name of :class:`hypeeg.training.HyperbolicClassifier`.
    A pipeline may hold options of its own, of which only the fields that were given count (see
    :meth:`override`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_epochs: int = Field(default=60, ge=1, description="Passes over the training trials.")
    batch_size: int = Field(default=64, ge=1, description="Trials a training step sees.")
    lr: float = Field(default=2e-3, gt=0, description="Learning rate at the start.")
    weight_decay: float = Field(default=1e-2, ge=0, description="Decoupled weight decay.")
    optimizer: Literal["radamw", "radam", "adamw"] = Field(
        default="radamw",
        description="Riemannian AdamW, Riemannian Adam (weight decay coupled), or the baseline of "
        "AdamW on coordinates as if they were Euclidean.",
    )
    lr_schedule: Literal["cosine"] | None = Field(
        default="cosine",
        description="Cosine decay of the learning rate to 0 over max_epochs, or none.",
    )
    early_stopping: bool = Field(
        default=False, description="Hold out validation trials and keep the best epoch's weights."
    )
    patience: int = Field(
        default=15, ge=1, description="Epochs without improvement before stopping."
    )
    validation_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of the training trials held out by early stopping.",
    )
    class_weight: Literal["balanced"] | dict[str, float] | None = Field(
        default=None, description="Weight of each class in the loss."
    )
    class_groups: dict[str, list[str]] | None = Field(
        default=None,
        description="Labels by name of group; the cross entropy of the groups is added to that of "
        "the classes.",
    )
    refresh_batch_norm: bool = Field(
        default=True,
        description="Compute batch-norm statistics anew from the training trials at the end.",
    )
    compile: bool = Field(
        default=False,
        description="Compile training passes: faster steps on a GPU, once compiled.",
    )
    curvature: Literal["learned", "sharpness_aware", "fixed"] = Field(
        default="learned",
        description="Whether the curvature is trained: by the training loss, by the loss at "
        "perturbed weights, or not.",
    )
    c: float = Field(
        default=1.0,
        ge=0.05,
        le=20.0,
        description="Curvature magnitude at the start (curvature is -c).",
    )
    curvature_lr: float = Field(default=1e-2, gt=0, description="Learning rate of log c.")
    curvature_move: Literal["exp", "scale", "none"] = Field(
        default="scale",
        description="How points on the manifold follow a change of c (curvature: learned); none "
        "is the baseline of coordinates that stay.",
    )
    curvature_gradient: Literal["autograd", "consistent"] = Field(
        default="autograd", description="Which derivative of the loss in c is followed."
    )
    sharpness_rho: float = Field(
        default=0.05,
        gt=0,
        description="Length of the perturbation of the weights (curvature: sharpness_aware).",
    )
    sharpness_every: int = Field(
        default=5,
        ge=1,
        description="Training steps between two of the curvature (curvature: sharpness_aware).",
    )

    @field_validator("class_weight")
    @classmethod
    def _check_class_weight(cls, value: Any) -> Any:
        if isinstance(value, dict):
            wrong = {label: w for label, w in value.items() if w <= 0}
            if wrong:
                raise ValueError(
                    f"class weights must be positive, got {wrong}; give each class > 0"
                )
        return value

    @model_validator(mode="after")
    def _check_sharpness(self) -> Self:
        if self.curvature == "sharpness_aware" and self.c > 10:
            raise ValueError(
                f"c={self.c:g} must be at most 10 with curvature: sharpness_aware; start lower, or "
                "use curvature: learned"
            )
        if self.curvature == "sharpness_aware" and self.curvature_move == "none":
            raise ValueError(
                "curvature_move: none is not for curvature: sharpness_aware, the points of which "
                "always follow; use exp or scale, or curvature: learned"
            )
        return self

    def override(self, other: Self | None) -> Self:
        """Return these options with the fields that `other` was given replacing them.

        Parameters
        ----------
        other : same class or None
            Only fields that were passed to it replace anything; its defaults do not.

        Returns
        -------
        same class
            With every field set, so that a dump of it is complete.
        """
        values = self.model_dump()
        if other is not None:
            values.update(other.model_dump(include=other.model_fields_set))
        return type(self).model_validate(values)
