using System.ComponentModel;
using System.Text.Json;
using System.Text.Json.Serialization;
using FedLearn.Glm;

namespace FedLearn.Cli.Serving;

/// <summary>Numbers of a row: one number for a model with one output, an array for a model with several. A number that is not finite is null.</summary>
/// <param name="Values">At least one.</param>
[JsonConverter(typeof(Converter))]
internal readonly record struct RowNumbers(IReadOnlyList<double> Values)
{
    internal sealed class Converter : JsonConverter<RowNumbers>
    {
        public override RowNumbers Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => throw new NotSupportedException("These numbers are only written.");

        public override void Write(Utf8JsonWriter writer, RowNumbers value, JsonSerializerOptions options)
        {
            if (value.Values.Count != 1)
                writer.WriteStartArray();
            foreach (double number in value.Values)
            {
                if (double.IsFinite(number))
                    writer.WriteNumberValue(number);
                else
                    writer.WriteNullValue();
            }

            if (value.Values.Count != 1)
                writer.WriteEndArray();
        }
    }
}

[Description("A prediction.")]
internal sealed record ScoreReply(
    [property: Description("The id as it was asked for.")] string Id,
    [property: Description("Linear predictor; an array, one a class, for a model of several classes. Null where it is no finite number.")] RowNumbers Score,
    [property: Description("Mean of the label: a probability, count or value; an array of class probabilities for a model of several classes. Null where it is no finite number.")] RowNumbers Prediction,
    [property: Description("Passive parties in place of whose score the declared constant was used; empty for a full answer.")] IReadOnlyList<string> Degraded)
{
    public static ScoreReply Of(GlmScoreAnswer answer) => new(answer.Id, new RowNumbers(answer.Scores), new RowNumbers(answer.Means), answer.Degraded);
}

[Description("Ids to predict for.")]
internal sealed record ScoreRequest([property: Description("1 to 4096 ids.")] IReadOnlyList<string> Ids);

[Description("An id of a request that has no prediction.")]
internal sealed record MissingReply(
    [property: Description("The id as it was asked for.")] string Id,
    [property: Description("FL3060: the active party has no such row. FL3061: another party has none.")] string ErrorId);

[Description("Predictions for several ids.")]
internal sealed record ScoresReply(
    [property: Description("One for each id that all parties have, in the order of the request.")] IReadOnlyList<ScoreReply> Scores,
    [property: Description("The other ids, in the order of the request.")] IReadOnlyList<MissingReply> Missing);

[Description("Whether the server can answer.")]
internal sealed record HealthReply(
    [property: Description("live, ready or waiting.")] string Status,
    [property: Description("The passive parties.")] IReadOnlyList<HealthReply.PartyState> Parties)
{
    [Description("A passive party.")]
    internal sealed record PartyState(
        [property: Description("Its name in the job.")] string Party,
        [property: Description("Whether it is connected.")] bool Connected,
        [property: Description("Whether a constant stands in for it while it is not.")] bool Fallback);
}
