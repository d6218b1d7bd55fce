"""What goes over the wire, for validation and for the OpenAPI document."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1, max_length=64)]


def whole(value):
    """3.0 as 3: JSON knows one kind of number, and JSON Schema counts both as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def integer(**limits):
    """A whole number within limits, which stand in the document too."""
    return Annotated[int, Field(**limits), BeforeValidator(whole)]


Positive = integer(ge=1)
Number = integer(ge=1 - 2**53, le=2**53 - 1)  # what JSON readers everywhere take exactly
Id = Number | Text


class Strict(BaseModel):
    """A request: nothing is converted, nothing is ignored."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ErrorBody(BaseModel):
    """Every error of the service looks like this."""

    error: str = Field(description="What is wrong and what to do.")


class Item(BaseModel):
    """One recommended item."""

    item_id: int | str
    title: str
    score: float = Field(description="Higher is better; comparable within one list only.")


class Recommendations(BaseModel):
    """A list of items, best first, none of which the user is known to have seen."""

    kind: Literal["known", "cold_items", "cold_text", "fallback"] = Field(
        description="How the list was made: for a user of the model, from liked items, from a text, or the most popular items."
    )
    model: str
    version: str = Field(description="Version of the package that answered; send it with feedback.")
    propensity: float = Field(
        description="Chance that this list is shown, 1 as the service never draws; send it with feedback."
    )
    items: list[Item]
    unknown: list[int | str] = Field(
        description="Liked ids that the catalogue does not have, or words of the text that the encoder cannot read."
    )


class Feedback(Strict):
    """What a person did with a recommended item."""

    user_id: Id
    item_id: Id
    event: Literal["impression", "click", "like", "dislike", "purchase", "rating"]
    value: float | None = Field(None, description="Of a rating: the stars.")
    position: integer(ge=0, le=10_000) | None = Field(None, description="Place in the list, from 0.")
    propensity: float = Field(gt=0, le=1, description="Chance with which the item was shown.")
    version: Text = Field(description="Version of the model that recommended it.")
    event_id: Text | None = Field(None, description="Send an event again under the same id, and it counts once.")


class Stored(BaseModel):
    """The event is on the disk."""

    event_id: str


def cold_start(max_k: int, max_liked: int, max_text: int) -> tuple[type[BaseModel], type[BaseModel]]:
    """The two bodies of POST /recommend with the limits of the service."""

    class LikedItems(Strict):
        """Someone new who likes these items."""

        liked: list[Id] = Field(min_length=1, max_length=max_liked)
        k: integer(ge=1, le=max_k) = min(10, max_k)

    class FreeText(Strict):
        """Someone new who says what it should be like."""

        text: str = Field(min_length=1, max_length=max_text)
        k: integer(ge=1, le=max_k) = min(10, max_k)

    return LikedItems, FreeText


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """The service can be used."""

    ready: bool


class ModelReady(Ready):
    """The model can be used."""

    name: str


class ServerMetadata(BaseModel):
    """Who serves."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """Name, type and shape of a tensor; −1 for a length that the request sets."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What the model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InputParameters(Strict):
    """Options of a request."""

    k: Positive | None = Field(None, description="Items per row, up to the limit of the service; 10 if left out.")


class InputTensor(Strict):
    """A column of user ids or texts."""

    name: Literal["user_id", "text"]
    shape: list[Positive] = Field(min_length=1, max_length=1)
    datatype: Literal["BYTES", "INT64"]
    data: list[Number | Annotated[str, Field(min_length=1)]] = Field(min_length=1)


class OutputName(Strict):
    """An output that is asked for."""

    name: Literal["item_id", "score"]


class InferRequest(Strict):
    """One tensor, either user_id or text."""

    id: str | None = Field(None, max_length=128)
    parameters: InputParameters = InputParameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[OutputName] | None = Field(None, min_length=1, max_length=2)


class OutputTensor(TensorMetadata):
    """Values row by row."""

    data: list[int | str | float]


class OutputParameters(BaseModel):
    """What else there is to say."""

    unknown: list[list[str]] = Field(description="For each row the words of its text that the encoder cannot read.")


class InferResponse(BaseModel):
    """One row for each row of the input."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: OutputParameters | None = Field(None, description="Left out where every word was read.")
    outputs: list[OutputTensor]
