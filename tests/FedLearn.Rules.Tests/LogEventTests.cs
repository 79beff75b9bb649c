using System.Reflection;

namespace FedLearn.Rules.Tests;

/// <summary>A number in a log means one thing.</summary>
public sealed class LogEventTests
{
    public static TheoryData<string> Assemblies => [.. Repository.Assemblies];

    [Theory]
    [MemberData(nameof(Assemblies))]
    public void LogEvents_OfAnAssembly_HaveIdsOfTheirOwn(string assembly) =>
        Assert.Empty(Ids(assembly).GroupBy(e => e.Id).Where(same => same.Count() > 1).Select(same => $"{same.Key}: {string.Join(", ", same.Select(e => e.Method))}"));

    [Fact]
    public void LogEvents_AreFound() => Assert.True(Ids("FedLearn.Transport.Grpc").Count() > 5);

    private static IEnumerable<(int Id, string Method)> Ids(string assembly) =>
        from type in Assembly.Load(assembly).GetTypes()
        from method in type.GetMethods(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly)
        from attribute in method.GetCustomAttributesData()
        where attribute.AttributeType.Name == "LoggerMessageAttribute"
        select ((int)(attribute.ConstructorArguments.FirstOrDefault(argument => argument.Value is int).Value ?? -1), $"{type.Name}.{method.Name}");
}
