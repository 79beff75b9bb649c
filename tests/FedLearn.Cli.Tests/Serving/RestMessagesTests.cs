using System.Text.Json;
using FedLearn.Cli.Serving;

namespace FedLearn.Cli.Tests.Serving;

public class RestMessagesTests
{
    /// <summary>One number of one score, an array of classes, and null for what JSON has no number for.</summary>
    [Fact]
    public void ScoreReply_OneScoreOrClasses_IsANumberOrAnArray()
    {
        string Json(double[] scores, double[] means) => JsonSerializer.Serialize(new ScoreReply("a", new RowNumbers(scores), new RowNumbers(means), []), JsonSerializerOptions.Web);
        Assert.Equal("""{"id":"a","score":0.5,"prediction":null,"degraded":[]}""", Json([0.5], [double.NaN]));
        Assert.Equal("""{"id":"a","score":[1,null,-2],"prediction":[0.25,0.25,0.5],"degraded":[]}""", Json([1, double.PositiveInfinity, -2], [0.25, 0.25, 0.5]));
    }
}
