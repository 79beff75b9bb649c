using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Dssm;
using FedLearn.Tests.Glm;

namespace FedLearn.Tests.Parties;

/// <summary>Alignments of a user's own that name rows which cannot be.</summary>
public class OwnAlignmentTests
{
    private sealed class Own(Func<int[], int[]> rows) : IEntityAlignment
    {
        public AlignmentMethod Method => AlignmentMethod.Hashed;

        public async Task<AlignedRows> AlignAsync(AlignmentTask task, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
        {
            AlignedRows aligned = await HashedAlignment.Instance.AlignAsync(task, channels, cancellationToken);
            return aligned with { Rows = rows(aligned.Rows) };
        }
    }

    public static TheoryData<string, string> Faults { get; } = new() { { "beyond", "does not have" }, { "before", "does not have" }, { "twice", "twice" }, { "none", "null" } };

    private static Own Of(string fault) => new(rows => fault switch
    {
        "beyond" => [.. rows[..^1], 1_000_000],
        "before" => [-1, .. rows[1..]],
        "twice" => [.. rows[..^1], rows[0]],
        _ => null!,
    });

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task Train_RowsThatCannotBe_SaysWhoseAlignmentItIs(string fault, string cause)
    {
        var data = VerticalData.Random(67, "gaussian", 40, 2, 2);
        GlmPartyInput[] inputs = [.. data.Inputs()];
        inputs[0] = inputs[0] with { Alignment = Of(fault) };
        AssertSays(await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.TrainAsync(data.Job("gaussian", new()), inputs, cancellationToken: TestContext.Current.CancellationToken)), inputs[0].Party, cause);
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task Recommend_RowsThatCannotBe_SaysWhoseAlignmentItIs(string fault, string cause)
    {
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs()];
        inputs[1] = inputs[1] with { Alignment = Of(fault) };
        AssertSays(await Assert.ThrowsAsync<ConfigurationException>(() =>
            DssmFederation.TrainAsync(SmallRecommendation.Job(), inputs, new ReferenceTowerFactory(), cancellationToken: TestContext.Current.CancellationToken)), inputs[1].Party, cause);
    }

    private static void AssertSays(ConfigurationException error, string party, string cause)
    {
        Assert.Equal((AlignmentErrors.RowsUnusable, $"party '{party}', Own"), (error.Id, error.Place));
        Assert.Contains(cause, error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void ViewTable_UsersThatCannotBe_AreRefused()
    {
        static ViewTable Of(string[] users, int[] rows) => new(users, rows, null, new TowerRows(new TowerInputs(1, []), rows.Length, new double[rows.Length], []));
        Assert.Equal("users", Assert.Throws<ArgumentException>(() => Of(["a", "a"], [0, 1])).ParamName);
        Assert.Equal("rowUser", Assert.Throws<ArgumentException>(() => Of(["a", "b"], [0, 2])).ParamName);
        Assert.Equal("rowUser", Assert.Throws<ArgumentException>(() => Of(["a", "b"], [-1, 1])).ParamName);
        Assert.Equal(2, Of(["a", "b"], [0, 1]).Users.Count);
    }
}
