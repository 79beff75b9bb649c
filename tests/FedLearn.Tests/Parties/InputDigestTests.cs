using FedLearn.Parties;

namespace FedLearn.Tests.Parties;

public sealed class InputDigestTests
{
    /// <summary>Two inputs with one digest would be the same, wherever their parts end.</summary>
    [Fact]
    public void Finish_SamePartsDividedOtherwise_Differs()
    {
        Func<InputDigest, InputDigest>[] inputs =
        [
            d => d.Texts(["a", "b"]),
            d => d.Texts(["a"]).Text("b"),
            d => d.Text("a").Text("b"),
            d => d.Texts(["ab"]),
            d => d.Text("ab"),
            d => d.Texts([]).Texts(["a", "b"]),
            d => d.Texts(["a", "b"]).Texts([]),
            d => d.Text("a").Text("b").Text(null),
            d => d.Text("a").Text("b").Text(""),
            d => d.Numbers([1.0, 2.0]).Numbers([3.0]),
            d => d.Numbers([1.0]).Numbers([2.0, 3.0]),
            d => d.Numbers([1.0, 2.0, 3.0]),
            d => d.Numbers([1.0, 2.0, 3.0]).Numbers<double>(null),
            d => d.Numbers([1.0, 2.0, 3.0]).Numbers<double>([]),
        ];
        Assert.Equal(inputs.Length, inputs.Select(Digest).Distinct().Count());
        Assert.Equal(Digest(inputs[0]), Digest(inputs[0]));
    }

    private static string Digest(Func<InputDigest, InputDigest> add)
    {
        using var digest = new InputDigest();
        return Convert.ToHexString(add(digest).Finish());
    }
}
